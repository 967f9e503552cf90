"""The job engines, each on a machine of its own: controllers, CRDs and webhooks as upstream wrote them.

An engine runs outside the cluster with a kubeconfig, so that default ports and fixed folders never clash. Its
webhooks are upstream's, pointed at its address; CRDs come from the module that is compiled.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from .images import PYTHON
from .machine import Machine, until
from .node import join
from .plane import Plane
from .tools import program, source

__all__ = ["ENGINES", "Engines", "crds"]

ENGINES = ("volcano", "jobset", "trainer", "training-operator", "kubedl", "kueue")
_MODULES = {
    "volcano": "volcano.sh/volcano",
    "jobset": "sigs.k8s.io/jobset",
    "trainer": "github.com/kubeflow/trainer/v2",
    "training-operator": "github.com/kubeflow/training-operator",
    "kubedl": "github.com/alibaba/kubedl",
    "kueue": "sigs.k8s.io/kueue",
}
_CRDS = {
    "volcano": ("config/crd/volcano/bases", "config/crd/jobflow/bases"),
    "jobset": ("config/components/crd/bases",),
    "trainer": ("manifests/base/crds",),
    "training-operator": ("manifests/base/crds",),
    "kubedl": ("config/crd/bases",),
    "kueue": ("config/components/crd/bases",),
}
_SERVICES = {
    "volcano": ("volcano-system", "volcano-admission-service"),
    "jobset": ("jobset-system", "jobset-webhook-service"),
    "trainer": ("kubeflow-system", "kubeflow-trainer-controller-manager"),
    "training-operator": ("kubeflow", "training-operator"),
    "kubedl": ("kubedl-system", "kubedl"),
    "kueue": ("kueue-system", "kueue-webhook-service"),
}
_SERVING = "/tmp/k8s-webhook-server/serving-certs"
_POD_WEBHOOKS = ("mpod.kb.io", "vpod.kb.io", "mdeployment.kb.io", "vdeployment.kb.io", "mstatefulset.kb.io",
                 "vstatefulset.kb.io")  # fmt: skip
_WAIT_FOR_MASTER = """- name: init-pytorch
  image: {{.InitContainerImage}}
  imagePullPolicy: IfNotPresent
  command: [python3, -c, "import socket,time\\nwhile 1:\\n try: socket.gethostbyname('{{.MasterAddr}}'); break\\n except OSError: time.sleep(.5)"]
"""  # noqa: E501 - one command
_RATE = ("--kube-api-qps=200", "--kube-api-burst=400")  # as the plane's own controllers, and Footplate
_LOCAL = "internalCertManagement: {enable: false}\nleaderElection: {leaderElect: false}\n"

Manifest = dict[str, Any]


class Engines:
    """Those that were started on one cluster."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.machines: dict[str, Machine] = {}
        self._hooks: dict[str, list[tuple[str, str]]] = {}  # kind and name of webhook configurations

    def start(self, name: str) -> None:
        """Start an engine, and what it needs, and wait until it answers."""
        if name in self.machines:
            return
        if name == "trainer":
            self.start("jobset")
        self._prepare(name)
        starts: dict[str, Callable[[], None]] = {
            "volcano": self._volcano,
            "jobset": self._jobset,
            "trainer": self._trainer,
            "training-operator": self._training_operator,
            "kubedl": self._kubedl,
            "kueue": self._kueue,
        }
        starts[name]()

    def stop(self, name: str) -> None:
        """End one, and have nobody ask its webhooks any more."""
        self.machines.pop(name).end()
        for kind, hook in self._hooks.pop(name, ()):
            self._plane.kubectl("delete", kind, hook)

    def end(self) -> None:
        """End all."""
        for machine in self.machines.values():
            machine.end()

    # One engine

    def _volcano(self) -> None:
        name, way = "volcano", f"--kubeconfig={self._plane.engines}"
        self._apply(crds(name))
        hooks = self._webhooks(name, "installer/volcano-development.yaml", 8443, lambda given, _: given)
        self._apply(hooks)
        served = {hook["clientConfig"]["url"].split(":8443")[1] for one in hooks for hook in one["webhooks"]}
        certificates = self._certificates(name)
        self._run(
            name, "webhook-manager", way, "--port=8443", f"--enabled-admission={','.join(sorted(served))}",
            f"--tls-cert-file={certificates}/tls.crt", f"--tls-private-key-file={certificates}/tls.key",
            f"--ca-cert-file={certificates}/ca.crt", "--webhook-namespace=volcano-system",
            "--webhook-service-name=volcano-admission-service", "--logtostderr",
        )  # fmt: skip
        self._serves(name, 8443)
        config = source(name, _MODULES[name]) / "installer/helm/chart/volcano/config/volcano-scheduler.conf"
        self._run(
            name, "scheduler", way, f"--scheduler-conf={config}", "--leader-elect=false",
            "--schedule-period=200ms", "--logtostderr", "--cache-dumper=false", *_RATE,
        )  # fmt: skip
        self._run(name, "controller-manager", way, "--leader-elect=false", "--logtostderr", *_RATE)
        queue = "/apis/scheduling.volcano.sh/v1beta1/queues/default"  # the scheduler makes it, some time
        until(lambda: self._plane.api("GET", queue)["status"]["state"] == "Open", 60, "Volcano's queue")

    def _jobset(self) -> None:
        name = "jobset"
        self._apply(crds(name))
        head = "apiVersion: config.jobset.x-k8s.io/v1alpha1\nkind: Configuration\n"
        config = self._config(name, head + _LOCAL)
        self._run(name, "jobset", "--config", config, "--zap-log-level=info", "--metrics-bind-address=0")
        self._serves(name, 9443)
        hooks = "config/components/webhook/manifests.yaml"
        self._apply(self._webhooks(name, hooks, 9443, lambda given, _: f"jobset-{given}"))

    def _trainer(self) -> None:
        name = "trainer"
        self._apply(crds(name))
        config = self._config(
            name,
            "apiVersion: config.trainer.kubeflow.org/v1alpha1\nkind: Configuration\n"
            "certManagement: {enable: false}\nleaderElection: {leaderElect: false}\n"
            "metrics: {bindAddress: '0'}\n",
        )
        self._run(name, "trainer-controller-manager", "--config", config)
        self._serves(name, 9443)
        words = {"ValidatingWebhookConfiguration": "validator"}
        self._apply(
            self._webhooks(
                name,
                "manifests/base/webhook/manifests.yaml",
                9443,
                lambda _, kind: f"{words.get(kind, 'defaulter')}.trainer.kubeflow.org",
            )
        )

    def _training_operator(self) -> None:
        name = "training-operator"  # rotation cannot be turned off: it must find a valid pair in this secret
        self._apply([*crds(name), self._secret(name, "training-operator-webhook-cert")])
        hook = "validator.training-operator.kubeflow.org"
        self._apply(self._webhooks(name, "manifests/base/webhook/manifests.yaml", 9443, lambda *_: hook))
        template = self.machines[name].folder / "init.yaml"
        template.write_text(_WAIT_FOR_MASTER, encoding="ascii")
        schemes = [f"--enable-scheme={scheme}" for scheme in ("pytorchjob", "tfjob")]
        self._run(
            name, "training-operator.v1", f"--pytorch-init-container-image={PYTHON}",
            f"--pytorch-init-container-template-file={template}", "--metrics-bind-address=0", *schemes,
            "--zap-log-level=info", MY_POD_NAMESPACE="kubeflow",
        )  # fmt: skip
        self._serves(name, 9443)

    def _kubedl(self) -> None:
        self._apply(crds("kubedl"))
        self._run(
            "kubedl", "kubedl", "--enable-leader-election=false", "--controller-metrics-addr=0",
            "--workloads=PyTorchJob,TFJob", "--feature-gates=JobCoordinator=false",
        )  # fmt: skip

    def _kueue(self) -> None:
        name = "kueue"
        served = crds(name)
        folder = source(name, _MODULES[name]) / "config/components/crd"
        for patch in yaml.safe_load((folder / "kustomization.yaml").read_text())["patches"]:
            convertible = yaml.safe_load((folder / patch["path"]).read_text())
            for crd in served:
                if crd["metadata"]["name"] == convertible["metadata"]["name"]:
                    conversion = crd["spec"]["conversion"] = convertible["spec"]["conversion"]
                    config = conversion["webhook"]["clientConfig"]
                    conversion["webhook"]["clientConfig"] = self._hook(name, config, 9443)
        self._apply([*served, self._secret(name, "kueue-webhook-server-cert")])
        hooks = "config/components/webhook/manifests.yaml"
        self._apply(self._webhooks(name, hooks, 9443, lambda given, _: f"kueue-{given}", _POD_WEBHOOKS))
        config = self._config(
            name,
            "apiVersion: config.kueue.x-k8s.io/v1beta2\nkind: Configuration\nnamespace: kueue-system\n"
            "leaderElection: {leaderElect: false}\nmetrics: {bindAddress: '0'}\n"
            "clientConnection: {qps: 200, burst: 400}\n"
            "internalCertManagement: {enable: true, webhookServiceName: kueue-webhook-service, "
            "webhookSecretName: kueue-webhook-server-cert}\nintegrations: {frameworks: [batch/job]}\n",
        )
        self._run(name, "kueue", "--config", config, "--feature-gates=VisibilityOnDemand=false")
        self._serves(name, 9443)

    # What they have in common

    def _prepare(self, name: str) -> None:
        """Its machine, namespace and serving certificate."""
        namespace, service = _SERVICES[name]
        machine = self.machines[name] = join(self._plane, f"e-{name}", self._address(name))
        certificates = machine.folder / "certs"
        certificates.mkdir()
        names = (f"{service}.{namespace}.svc", service, self._address(name))
        pair = self._plane.authority.sign(f"e-{name}", service, names=names)
        authority = self._plane.authority.path
        for path, file in zip(
            (*pair, authority("ca.crt"), authority("ca.key")),
            ("tls.crt", "tls.key", "ca.crt", "ca.key"),
            strict=True,
        ):
            (certificates / file).write_bytes(Path(path).read_bytes())
        machine.run("sh", "-c", f"mkdir -p {_SERVING} && mount --bind {certificates} {_SERVING}")
        self._apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}])

    def _address(self, name: str) -> str:
        return f"10.50.0.{100 + ENGINES.index(name)}"

    def _certificates(self, name: str) -> Path:
        return self.machines[name].folder / "certs"

    def _config(self, name: str, text: str) -> str:
        file = self.machines[name].folder / "config.yaml"
        file.write_text(text, encoding="ascii")
        return str(file)

    def _run(self, name: str, word: str, *arguments: str, **env: str) -> None:
        env = {"KUBECONFIG": self._plane.engines, **env}
        self.machines[name].start(f"{name}-{word}", program(name, word), *arguments, env=env)

    def _serves(self, name: str, port: int) -> None:
        machine, address = self.machines[name], self._address(name)

        def answers() -> bool:
            machine.check()
            self._plane.machine.run("bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}")
            return True

        until(answers, 60, f"{name} on port {port}", 0.2)

    def _webhooks(
        self,
        name: str,
        file: str,
        port: int,
        rename: Callable[[str, str], str],
        left_out: Iterable[str] = (),
    ) -> list[Manifest]:
        found = _documents(source(name, _MODULES[name]) / file)
        configurations = [one for one in found if one["kind"].endswith("WebhookConfiguration")]
        for one in configurations:
            one["metadata"] = {"name": rename(one["metadata"]["name"], one["kind"])}
            one["webhooks"] = [hook for hook in one["webhooks"] if hook["name"] not in left_out]
            for hook in one["webhooks"]:
                hook["clientConfig"] = self._hook(name, hook["clientConfig"], port)
        self._hooks[name] = [(one["kind"], one["metadata"]["name"]) for one in configurations]
        return configurations

    def _hook(self, name: str, config: Manifest, port: int) -> Manifest:
        """A client's configuration that calls the engine's address instead of a Service."""
        bundle = base64.b64encode(Path(self._plane.authority.path("ca.crt")).read_bytes()).decode()
        return {"url": f"https://{self._address(name)}:{port}{config['service']['path']}", "caBundle": bundle}

    def _secret(self, name: str, secret: str) -> Manifest:
        files = sorted(self._certificates(name).iterdir())
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret, "namespace": _SERVICES[name][0]},
            "data": {file.name: base64.b64encode(file.read_bytes()).decode() for file in files},
        }

    def _apply(self, manifests: list[Manifest]) -> None:
        """Apply, and wait until CRDs are served: most controllers end when a kind is not there yet."""
        text = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        self._plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=text)
        names = [one["metadata"]["name"] for one in manifests if one["kind"] == "CustomResourceDefinition"]
        until(lambda: all(map(self._served, names)), 60, "CRDs served")

    def _served(self, crd: str) -> bool:
        found = self._plane.api("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}")
        conditions = found["status"].get("conditions") or []
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def crds(name: str) -> list[Manifest]:
    """The definitions of an engine's kinds."""
    root = source(name, _MODULES[name])
    files = [file for folder in _CRDS[name] for file in sorted((root / folder).glob("*.yaml"))]
    found = [crd for file in files if "kustomization" not in file.name for crd in _documents(file)]
    for crd in found:
        crd["metadata"].pop("creationTimestamp", None)
        crd.pop("status", None)
    return found


def _documents(file: Path) -> list[Manifest]:
    with file.open(encoding="utf-8") as text:
        return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]
