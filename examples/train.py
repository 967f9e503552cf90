"""Train a small network on 1,797 handwritten digits and report how it goes.

%train train.py --hidden 64            in a notebook
footplate train train.py --hidden 64   in a shell
python train.py --hidden 64            here, without a platform
"""

import argparse
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import footplate as fp

options = argparse.ArgumentParser()
options.add_argument("--hidden", type=int, default=32, help="neurons of the hidden layer")
options.add_argument("--epochs", type=int, default=20)
options = options.parse_args()

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=400, random_state=0, stratify=y)

# One epoch a call: what was learned is kept from call to call, and that it has not converged yet is no news.
warnings.simplefilter("ignore", ConvergenceWarning)
model = MLPClassifier([options.hidden], learning_rate_init=0.01, max_iter=1, warm_start=True, random_state=0)
for epoch in range(1, options.epochs + 1):
    model.fit(X_train, y_train)
    accuracy = model.score(X_test, y_test)
    fp.report(step=epoch, loss=model.loss_, accuracy=accuracy)
    print(f"epoch {epoch:2}: loss {model.loss_:.3f}, accuracy {accuracy:.1%}", flush=True)
