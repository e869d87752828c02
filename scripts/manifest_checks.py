"""The rendered Kubernetes manifests, for scripts/check-manifests and scripts/test-cluster.

`make_keys` and `render` make the documents, `Manifests` finds pods, containers and variables in them, and `findings`
returns a sentence for each thing that would go wrong in a cluster, beyond what schemas say. What commands take is asked
of the program itself (`CommandLines`).
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy/kubernetes"
ENVIRONMENT = ROOT / ".build-manifests/venv"
REQUIREMENTS = ["kubernetes-validate==1.37.0", "jsonschema==4.25.1", "PyYAML==6.0.3"]
KUBECTL = "there is no kubectl; its releases are at https://kubernetes.io/docs/tasks/tools, one file to put on PATH"
SET_NAME = "leaderworkerset.sigs.k8s.io/name"
WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
# What the set's controller adds to every container, before its own variables.
INJECTED = {"LWS_LEADER_ADDRESS": "leader.example", "LWS_GROUP_SIZE": "0", "LWS_WORKER_INDEX": "0"}
# The option at which each command listens, and the one by which it finds the coordinator.
LISTENS = {"coordinate": "--endpoint", "work": "--listen", "serve": "--http"}
CONNECTS = {"work": "--coordinator", "serve": "--endpoint", "status": "--endpoint"}

# Where name servers answer.
NAMES = {(53, "UDP"), (53, "TCP")}


class RenderError(Exception):
    """Why no manifests could be made."""


def make_keys(trestle, directory):
    """A copy of the manifests in a directory, with keys made as their README says; returns its folder."""
    folder = Path(directory) / "kubernetes"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("keys"))
    environment = dict(os.environ, TRESTLE_BINARY=str(Path(trestle).resolve()))
    result = subprocess.run([folder / "make-keys"], env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RenderError(result.stderr.strip())
    return folder


def render(folder):
    """The documents that kustomize makes of a folder."""
    import yaml

    result = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    if result.returncode:
        raise RenderError(result.stderr.strip())
    return [document for document in yaml.safe_load_all(result.stdout) if document]


class Pod:
    """A pod of the set, as its template makes it."""

    def __init__(self, role, template, group):
        self.role, self.spec = role, template["spec"]
        self.labels = dict(template.get("metadata", {}).get("labels", {}))
        self.labels |= {SET_NAME: group["metadata"]["name"], WORKER_INDEX: "0" if role == "leader" else "1"}
        self.claims = [c["metadata"]["name"] for c in group["spec"]["leaderWorkerTemplate"].get("volumeClaimTemplates", [])]

    @property
    def containers(self):
        return self.spec.get("initContainers", []) + self.spec["containers"]

    def container(self, name):
        return next(c for c in self.containers if c["name"] == name)

    @property
    def ports(self):
        return [port for c in self.containers for port in c.get("ports", [])]

    def opens(self, port):
        """Whether a container opens this port, given by its name or its number."""
        return any(port in (p["containerPort"], p.get("name")) for p in self.ports)


class Manifests:
    def __init__(self, documents):
        self.documents = documents
        self.sets = self.of("LeaderWorkerSet")
        self.pods = []
        for group in self.sets:
            template = group["spec"]["leaderWorkerTemplate"]
            self.pods.append(Pod("leader", template.get("leaderTemplate", template["workerTemplate"]), group))
            self.pods.append(Pod("worker", template["workerTemplate"], group))

    def of(self, kind):
        return [d for d in self.documents if d["kind"] == kind]

    def named(self, kind, name):
        return next((d for d in self.of(kind) if d["metadata"]["name"] == name), None)

    def pod(self, role):
        return next(p for p in self.pods if p.role == role)

    def selected(self, selector):
        """The pods that labels select."""
        wanted = (selector or {}).get("matchLabels", {})
        return [p for p in self.pods if wanted.items() <= p.labels.items()]

    def environment(self, container, missing, injected=INJECTED, address="10.0.0.1"):
        """The variables of a container in a pod of that address, and a sentence in `missing` for each without a source."""
        found = dict(injected)
        for source in container.get("envFrom", []):
            name = source["configMapRef"]["name"]
            settings = self.named("ConfigMap", name)
            if settings is None:
                missing.append(f"container {container['name']}: there is no ConfigMap {name}")
            found |= (settings or {}).get("data", {})
        for variable in container.get("env", []):
            origin = variable.get("valueFrom", {})
            if "value" in variable:
                found[variable["name"]] = expand(variable["value"], found)[0]
            elif "fieldRef" in origin:
                if origin["fieldRef"]["fieldPath"] != "status.podIP":
                    missing.append(f"container {container['name']}: {variable['name']} is of an unknown field")
                found[variable["name"]] = address
            elif "secretKeyRef" in origin:
                key = origin["secretKeyRef"]
                found[variable["name"]] = "secret"
                if not key.get("optional") and not self.has_key(key["name"], key["key"]):
                    missing.append(f"container {container['name']}: there is no Secret {key['name']} with {key['key']}")
        return found

    def has_key(self, secret, key):
        return key in (self.named("Secret", secret) or {}).get("data", {})


def expand(text, variables):
    """Replaces `$(NAME)` as kubelet does; returns the text and the names that are not known, which stay."""
    unknown = []

    def value(match):
        if match.group() == "$$":
            return "$"
        if match.group(1) in variables:
            return variables[match.group(1)]
        unknown.append(match.group(1))
        return match.group()

    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)", value, text), unknown


class CommandLines:
    """What the program's commands take, from the program's own description."""

    def __init__(self, trestle):
        text = subprocess.run([trestle, "--experimental-dump-help"], check=True, capture_output=True, text=True).stdout
        self.root = json.loads(text)["command"]

    def problems(self, words):
        """Returns what the program would refuse in these words, and its command and options."""
        command, names, words = self.root, [], list(words)
        while words and (sub := next((s for s in command.get("subcommands", []) if s["commandName"] == words[0]), None)):
            command = sub
            names.append(words.pop(0))
        if not names:
            return [f"`trestle` has no command `{' '.join(words[:1])}`"], "", {}
        problems, options, values = [], {}, []
        arguments = command.get("arguments", [])
        known = {("-" if n["kind"] == "short" else "--") + n["name"]: a for a in arguments for n in a.get("names", [])}
        while words:
            word = words.pop(0)
            name, equals, value = word.partition("=")
            if not word.startswith("-"):
                values.append(word)
            elif name not in known:
                problems.append(f"`trestle {' '.join(names)}` has no option {name}")
            elif known[name]["kind"] == "flag":
                options[name] = True
            elif equals or words:
                options[name] = value if equals else words.pop(0)
            else:
                problems.append(f"`trestle {' '.join(names)}`: {name} has no value")
        places = [a for a in arguments if a["kind"] == "positional"]
        required = sum(not a["isOptional"] for a in places)
        most = len(values) if any(a["isRepeating"] for a in places) else len(places)
        if not required <= len(values) <= most:
            problems.append(f"`trestle {' '.join(names)}` takes {required} to {most} arguments, not {len(values)}")
        for argument in arguments:
            if argument["kind"] == "option" and not argument["isOptional"]:
                name = "--" + argument["preferredName"]["name"]
                if name not in options:
                    problems.append(f"`trestle {' '.join(names)}` needs {name}")
        return problems, names[0], options


def invocations(words):
    """The command lines of the program in a container's words: its own, or those of a shell script."""
    if words[0] == "trestle":
        return [words[1:]]
    if words[0] != "/bin/sh":
        return []
    lexer = shlex.shlex(words[-1], posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lines, line = [], []
    for token in [*lexer, ";"]:
        if set(token) <= set(";&|()<>"):
            while line and line[0] in ("until", "while", "if", "then", "do", "!"):
                line.pop(0)
            if line and line[0] == "trestle":
                lines.append(line[1:])
            line = []
        else:
            line.append(token)
    return lines


def findings(documents, command_lines):
    """What would go wrong in a cluster, a sentence each."""
    manifests = Manifests(documents)
    if not manifests.sets:
        return ["there is no LeaderWorkerSet"]
    found = []
    calls = []
    for pod in manifests.pods:
        found += check_volumes(manifests, pod)
        for container in pod.containers:
            where = f"{pod.role}, container {container['name']}"
            found += [f"{where}: {problem}" for problem in check_confinement(pod, container)]
            found += [f"{where}: {problem}" for problem in check_probes(pod, container)]
            found += check_command(manifests, pod, container, command_lines, calls)
    found += check_pipeline(manifests, calls)
    found += check_selectors(manifests)
    found += check_policies(manifests)
    found += check_metrics(manifests)
    return found


def check_volumes(manifests, pod):
    volumes = {v["name"]: v for v in pod.spec.get("volumes", [])}
    names = list(volumes) + pod.claims
    mounted = [m["name"] for c in pod.containers for m in c.get("volumeMounts", [])]
    for name in sorted(set(mounted) - set(names)):
        yield f"{pod.role}: volumeMount {name} has no volume"
    for name in sorted(set(names) - set(mounted)):
        yield f"{pod.role}: volume {name} is mounted nowhere"
    for volume in volumes.values():
        if (secret := volume.get("secret")) and not manifests.named("Secret", secret["secretName"]):
            yield f"{pod.role}: volume {volume['name']}: there is no Secret {secret['secretName']}"


def check_confinement(pod, container):
    common, own = pod.spec.get("securityContext", {}), container.get("securityContext", {})
    if not common.get("runAsNonRoot") or common.get("runAsUser") in (None, 0):
        yield "it may run as root"
    if common.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "it may make any system call"
    if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "it may gain privileges"
    if not own.get("readOnlyRootFilesystem"):
        yield "it may write to its root"
    if own.get("privileged"):
        yield "it is privileged"
    if "memory" not in container.get("resources", {}).get("limits", {}):
        yield "it has no limit of memory"


def check_probes(pod, container):
    routes = (ROOT / "Sources/Server/Routes.swift").read_text()
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container.get(kind, {})
        for action in ("httpGet", "tcpSocket"):
            port = probe.get(action, {}).get("port")
            opened = [p for c in [container] for p in c.get("ports", []) if port in (p["containerPort"], p.get("name"))]
            if port is not None and not opened:
                yield f"{kind} asks at port {port}, which it does not open"
        if (path := probe.get("httpGet", {}).get("path")) and f'"{path}"' not in routes:
            yield f"{kind} asks for {path}, which the front door does not have"


def check_command(manifests, pod, container, command_lines, calls):
    """Checks a container's command lines and those of its probes, and collects them in `calls`."""
    where = f"{pod.role}, container {container['name']}"
    found = []
    variables = manifests.environment(container, found)
    lines = [container["command"] + container.get("args", [])]
    lines += [container[k]["exec"]["command"] for k in ("startupProbe", "livenessProbe") if "exec" in container.get(k, {})]
    for line in lines:
        expanded = [expand(word, variables) for word in line]
        found += [f"{where}: nothing defines {name}" for _, unknown in expanded for name in unknown]
        words = [word for word, _ in expanded]
        if words[0] == "/bin/sh":
            used = re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", words[-1])
            found += [f"{where}: nothing defines {name}" for name in used if name not in variables]
        elif words[0] != "trestle":
            found.append(f"{where}: it runs {words[0]}, not trestle")
        for call in invocations(words):
            problems, command, options = command_lines.problems(call)
            found += [f"{where}: {problem}" for problem in problems]
            found += [f"{where}: {problem}" for problem in check_paths(manifests, pod, container, options)]
            calls.append((pod, container, command, options))
    return found


def check_paths(manifests, pod, container, options):
    """Files and directories that a command line names must be in a volume that is mounted there."""
    for option in ("--keys", "--api-key-file", "--cache"):
        if not isinstance(path := options.get(option), str):
            continue
        mounts = [m for m in container.get("volumeMounts", []) if PurePosixPath(path).is_relative_to(m["mountPath"])]
        if not mounts:
            yield f"{option} {path} is in no volume"
        elif option == "--cache" and mounts[0].get("readOnly"):
            yield f"{option} {path} cannot be written"
        elif option == "--api-key-file":
            volume = next((v for v in pod.spec.get("volumes", []) if v["name"] == mounts[0]["name"]), {})
            name = volume.get("secret", {}).get("secretName", "")
            if not manifests.has_key(name, PurePosixPath(path).name):
                yield f"{option} {path} is not in Secret {name}"


def check_pipeline(manifests, calls):
    """The group must have a worker for each device, and each must find the coordinator."""
    coordinators = [options for _, _, command, options in calls if command == "coordinate"]
    if len(coordinators) != 1:
        return [f"a group has {len(coordinators)} coordinators"]
    found = []
    devices = coordinators[0].get("--devices", "cpu").split(",")
    template = manifests.sets[0]["spec"]["leaderWorkerTemplate"]
    if template.get("size", 1) != len(devices) + 1:
        found.append(f"a group of {template.get('size', 1)} has one leader, so --devices must name one less, not {len(devices)}")
    if template.get("restartPolicy") != "None":
        found.append("restartPolicy is not None: a lost worker would end all requests of its group")
    if manifests.sets[0]["spec"].get("startupPolicy") == "LeaderReady":
        found.append("startupPolicy LeaderReady: the leader is ready when its workers are, and would wait for ever")
    port = port_of(coordinators[0].get("--endpoint", ""))
    for pod, container, command, options in calls:
        where = f"{pod.role}, container {container['name']}"
        if command == "work" and options.get("--device") not in devices:
            found.append(f"{where}: --device {options.get('--device')} is none of {','.join(devices)}")
        if command in LISTENS:
            endpoint = options.get(LISTENS[command], "")
            if not any(p["containerPort"] == port_of(endpoint) for p in container.get("ports", [])):
                found.append(f"{where}: {LISTENS[command]} {endpoint} is no port that it opens")
            if command == "work" and "//*" in endpoint:
                found.append(f"{where}: {LISTENS[command]} {endpoint} is no address that others reach")
        if command in CONNECTS and port_of(options.get(CONNECTS[command], "")) != port:
            found.append(f"{where}: {CONNECTS[command]} {options.get(CONNECTS[command])} is not the coordinator's port {port}")
    return found


def port_of(endpoint):
    text = endpoint.rpartition(":")[2]
    return int(text) if text.isdigit() else None


def check_selectors(manifests):
    for service in manifests.of("Service"):
        name = service["metadata"]["name"]
        pods = manifests.selected({"matchLabels": service["spec"].get("selector", {})})
        if not pods:
            yield f"Service {name} selects no pod"
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            if pods and not all(p.opens(target) for p in pods):
                yield f"Service {name}: no container opens port {target}"
        if any(group["metadata"]["name"] == name for group in manifests.sets):
            yield f"Service {name} has the name of the set's own headless service"
    for budget in manifests.of("PodDisruptionBudget"):
        if not manifests.selected(budget["spec"].get("selector")):
            yield f"PodDisruptionBudget {budget['metadata']['name']} selects no pod"
    for pod in manifests.pods:
        for kind in ("podAffinity", "podAntiAffinity"):
            affinity = pod.spec.get("affinity", {}).get(kind, {})
            terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", [])
            preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution", [])
            for term in terms + [p["podAffinityTerm"] for p in preferred]:
                if pod not in manifests.selected(term["labelSelector"]):
                    yield f"{pod.role}: {kind} does not select the pod itself"


def check_policies(manifests):
    """What is opened must be let in, and what is let in must be open."""
    yield from check_names(manifests)
    let_in = {role: set() for role in ("leader", "worker")}
    for policy in manifests.of("NetworkPolicy"):
        name, spec = policy["metadata"]["name"], policy["spec"]
        pods = manifests.selected(spec["podSelector"])
        if not pods:
            yield f"NetworkPolicy {name} selects no pod"
        for rule in spec.get("ingress", []):
            for port in (p["port"] for p in rule.get("ports", [])):
                if not any(p.opens(port) for p in pods):
                    yield f"NetworkPolicy {name} lets in port {port}, which no container opens"
                for pod in pods:
                    let_in[pod.role].add(port)
    for pod in manifests.pods:
        for port in pod.ports:
            if port["containerPort"] not in let_in[pod.role]:
                yield f"{pod.role}: no NetworkPolicy lets in port {port['containerPort']}"


def check_names(manifests):
    """All pods must reach name servers, which may be anywhere; nothing else may be reached everywhere."""
    reached = {pod.role: set() for pod in manifests.pods}
    for policy in manifests.of("NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            if rule.get("to"):
                continue
            ports = {(p.get("port"), p.get("protocol", "TCP")) for p in rule.get("ports", [])}
            if not ports or ports - NAMES:
                yield f"NetworkPolicy {policy['metadata']['name']} opens more than port 53 everywhere"
            for pod in manifests.selected(policy["spec"]["podSelector"]):
                reached[pod.role] |= ports
    for role, ports in reached.items():
        if not NAMES <= ports:
            yield f"{role}: name servers cannot be reached at port 53 of any address, by UDP and TCP"


def requested_cpu(pod):
    """What a pod requests of a node, in thousandths of a CPU, as the scheduler counts it."""
    def of(container):
        text = str(container.get("resources", {}).get("requests", {}).get("cpu", 0))
        return float(text[:-1]) if text.endswith("m") else 1000 * float(text)

    most, sidecars = 0, 0
    for container in pod.spec.get("initContainers", []):
        if container.get("restartPolicy") == "Always":
            sidecars += of(container)
            most = max(most, sidecars)
        else:
            most = max(most, sidecars + of(container))
    return max(most, sidecars + sum(of(c) for c in pod.spec["containers"]))


def check_metrics(manifests):
    metrics = (ROOT / "Sources/Server/Metrics.swift").read_text()
    routes = (ROOT / "Sources/Server/Routes.swift").read_text()
    for monitor in manifests.of("PodMonitor"):
        pods = manifests.selected(monitor["spec"]["selector"])
        if not pods:
            yield "PodMonitor selects no pod"
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if pods and not all(p.opens(endpoint.get("port")) for p in pods):
                yield f"PodMonitor: no container opens port {endpoint.get('port')}"
            if f'"{endpoint.get("path", "/metrics")}"' not in routes:
                yield f"PodMonitor asks for {endpoint['path']}, which the front door does not have"
            key = endpoint.get("authorization", {}).get("credentials")
            if key and not manifests.has_key(key["name"], key["key"]):
                yield f"PodMonitor: there is no Secret {key['name']} with {key['key']}"
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if not manifests.named(target["kind"], target["name"]):
            yield f"HorizontalPodAutoscaler: there is no {target['kind']} {target['name']}"
        for metric in scaler["spec"]["metrics"]:
            name = metric["pods"]["metric"]["name"]
            if f'"{name.removeprefix("trestle_")}"' not in metrics:
                yield f"HorizontalPodAutoscaler: nothing exports {name}"
