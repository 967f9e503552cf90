"""The control plane: etcd, API server, controller manager, scheduler and DNS on a machine of their own."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .certificates import Authority
from .machine import Machine, until
from .tools import program

__all__ = ["ADDRESS", "Plane"]

ADDRESS = "10.50.0.1"
PODS, SERVICES, KUBERNETES = "10.60.0.0/16", "10.70.0.0/16", "10.70.0.1"
_PORT = 6443
_GATES = "--feature-gates=GenericWorkload=true,GangScheduling=true,WorkloadWithJob=true"
_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "127.0.0.1",
    ADDRESS,
    KUBERNETES,
)
_DNS = """.:53 {{
 bind {address}
 kubernetes cluster.local in-addr.arpa {{
  kubeconfig {kubeconfig}
  pods insecure
 }}
 cache 5
}}
"""


class Plane:
    """What makes a cluster of machines.

    Parameters
    ----------
    folder
        For everything that it keeps; short, and on a disk that overlayfs accepts.
    port
        Of the loopback outside, where its API is found.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        folder.mkdir(parents=True)
        self.authority = Authority(folder / "pki")
        server = f"https://127.0.0.1:{port}"
        self.kubeconfig = self.authority.kubeconfig("admin", "admin", "system:masters", server)
        self.engines = self.inner("engine", "engine", "system:masters")
        self.machine = Machine("cp", folder / "cp")
        for words in (
            "ip link add br0 type bridge",
            f"ip addr add {ADDRESS}/24 dev br0",
            "ip link set br0 up",
            "sysctl -qw net.ipv4.ip_forward=1",
        ):
            self.machine.run(*words.split())
        self._local = threading.local()
        self._relays: list[subprocess.Popen[bytes]] = []

    def inner(self, name: str, common: str, group: str = "") -> str:
        """A kubeconfig for a program that runs inside."""
        return self.authority.kubeconfig(f"{name}-inner", common, group, f"https://{ADDRESS}:{_PORT}")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._start_api()
        self.relay(0, "127.0.0.1", self.port, self.machine.pid, ADDRESS, _PORT)
        # The others end when the server's own roles are not there yet.
        until(lambda: self.api("GET", "/readyz") == "ok", 90, "the API server's readiness")
        self._start_controllers()
        corefile = self.folder / "Corefile"
        corefile.write_text(_DNS.format(address=ADDRESS, kubeconfig=self.engines), encoding="ascii")
        self.machine.start("coredns", program("coredns", "coredns"), "-conf", str(corefile))

    def relay(self, *where: object) -> subprocess.Popen[bytes]:
        """Join two networks; see `relay`."""
        script = Path(__file__).with_name("relay.py")
        self._relays.append(subprocess.Popen([sys.executable, str(script), *map(str, where)]))
        return self._relays[-1]

    def end(self) -> None:
        """End it and all that is relayed to it."""
        for relay in self._relays:
            relay.kill()
            relay.wait()
        self.machine.end()

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, kind: str = "") -> Any:
        """One request to the API server as its admin, and what it answers."""
        context = ssl.create_default_context(cafile=self.authority.path("ca.crt"))
        context.load_cert_chain(*self.authority.sign("admin", "admin", "system:masters"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=60)
        try:
            sent = json.dumps(body) if body is not None else None
            content = f"application/{kind}+json" if kind else "application/json"
            connection.request(method, path, sent, {"Content-Type": content})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text) if text.startswith("{") else text

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """Run kubectl, and return what it printed."""
        command = [program("kubernetes", "kubectl"), "--kubeconfig", self.kubeconfig, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, input=given).stdout

    def _start_api(self) -> None:
        pki = self.authority
        certificate, key = pki.sign("apiserver", "kube-apiserver", names=_NAMES)
        client = pki.sign("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
        self.machine.start(
            "etcd", program("etcd", "server"), f"--data-dir={self.folder}/etcd",
            "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync",
            "--quota-backend-bytes=4294967296", "--log-level=warn",
        )  # fmt: skip
        self.machine.start(
            "apiserver", program("kubernetes", "kube-apiserver"), "--v=1",
            "--etcd-servers=http://127.0.0.1:2379", f"--advertise-address={ADDRESS}",
            f"--secure-port={_PORT}",
            f"--service-cluster-ip-range={SERVICES}", f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}", f"--client-ca-file={pki.path('ca.crt')}",
            f"--kubelet-client-certificate={client[0]}", f"--kubelet-client-key={client[1]}",
            "--kubelet-preferred-address-types=InternalIP", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
            f"--service-account-key-file={pki.path('sa.key')}",
            f"--service-account-signing-key-file={pki.path('sa.key')}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--enable-aggregator-routing=true", "--profiling=false", _GATES,
            "--runtime-config=scheduling.k8s.io/v1alpha2=true",
        )  # fmt: skip

    def _start_controllers(self) -> None:
        pki, rate = self.authority, ("--kube-api-qps=200", "--kube-api-burst=400")
        for word, more in (
            (
                "controller-manager",
                (
                    f"--root-ca-file={pki.path('ca.crt')}",
                    f"--service-account-private-key-file={pki.path('sa.key')}",
                    "--use-service-account-credentials=true",
                    f"--cluster-signing-cert-file={pki.path('ca.crt')}",
                    f"--cluster-signing-key-file={pki.path('ca.key')}",
                    "--allocate-node-cidrs=false",
                    "--concurrent-job-syncs=20",
                ),
            ),
            ("scheduler", ()),
        ):
            way = self.inner(word, f"system:kube-{word}")
            ways = (
                f"--kubeconfig={way}",
                f"--authentication-kubeconfig={way}",
                f"--authorization-kubeconfig={way}",
            )
            common = ("--v=1", "--bind-address=127.0.0.1", "--leader-elect=false", _GATES)
            self.machine.start(word, program("kubernetes", f"kube-{word}"), *ways, *common, *rate, *more)
