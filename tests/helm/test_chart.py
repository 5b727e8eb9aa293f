"""The chart: rendered by Helm, held against Kubernetes' schemas and our own rules."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from hanseg_shared.documents import JobState
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.settings import known_variables
from tests.compose.containers import PROJECT
from tests.helm.charts import CHART, Rendered, render, variables
from tests.helm.keda import SCHEMAS

VERSIONS = ["1.29", "1.37"]
"""The oldest that Chart.yaml names, and the newest whose schemas there are."""

SMALL: dict[str, Any] = {
    "networkPolicies": {"enabled": False},
    "migrations": {"enabled": False},
}
LARGE: dict[str, Any] = {
    "image": {"pullSecrets": ["registry"]},
    "secrets": {"store": ["hanseg_store_key_id", "hanseg_store_key_secret"]},
    "settings": {"HANSEG_OIDC_ISSUER": "https://login.example.org"},
    "store": {"uri": "s3://contours/payloads"},
    "models": {"claim": "models"},
    "api": {"autoscaling": {"enabled": True}, "nodeSelector": {"disk": "fast"}},
    "ingress": {"enabled": True},
    "segmentation": {"gpu": {"enabled": True, "runtimeClassName": "nvidia", "min": 0}},
    "scaling": {"enabled": True},
    "bridge": {"enabled": True, "settings": {"HANSEG_BRIDGE_MR_WAIT_SECONDS": 60}},
}  # fmt: skip
ALL = {"default": {}, "small": SMALL, "large": LARGE}


@pytest.fixture(scope="module")
def charts() -> dict[str, Rendered]:
    return {name: render(values) for name, values in ALL.items()}


@pytest.fixture(params=ALL)
def chart(request, charts) -> Rendered:
    return charts[request.param]


@pytest.fixture
def large(charts) -> Rendered:
    return charts["large"]


def test_every_manifest_is_one_of_kubernetes_or_of_keda(charts):
    every = [m for chart in charts.values() for m in chart.manifests]
    for manifest in {yaml.safe_dump(each): each for each in every}.values():
        schema = SCHEMAS.get(manifest["kind"])
        if schema is not None:
            jsonschema.validate(manifest, schema)
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_no_two_manifests_have_one_name(chart):
    names = [(m["kind"], m["metadata"]["name"]) for m in chart.manifests]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 3}, "additional properties 'replicas' not allowed"),
        ({"api": {"replicas": 0}}, "minimum: got 0, want 1"),
        ({"settings": {"hanseg_hosts": "x"}}, "invalid propertyName"),
        ({"store": {"uri": "s3://user:secret@bucket"}}, "/store/uri"),
        ({"registration": {"resources": {"limits": {"cpu": "1"}}}}, None),
    ],
)
def test_values_that_make_no_sense_are_refused(values, said):
    if said is None:  # merged with the defaults, which have the limit of memory
        render(values)
        return
    with pytest.raises(Exception, match=re.escape(said)):
        render(values)


def test_every_container_is_as_confined_as_in_compose(chart):
    assert chart.workloads()
    for name, pod in chart.pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] == context["fsGroup"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
    for _, container in chart.containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_container_has_limits_and_asks_for_what_it_needs(chart):
    for name, container in chart.containers():
        assert "memory" in container["resources"]["limits"], name
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name


def test_no_variable_of_a_service_reaches_a_pod(chart):
    """A Service called hanseg-api would set HANSEG_API_PORT, which is no setting."""
    assert all(pod["enableServiceLinks"] is False for _, pod in chart.pods())


def test_every_variable_is_one_that_is_read(chart):
    named = {name for _, c in chart.containers() for name in variables(c)}
    assert named
    assert named <= known_variables()


def test_what_is_written_goes_to_volumes(chart):
    for name, pod in chart.pods():
        declared = {each["name"] for each in pod["volumes"]}
        (container,) = pod["containers"]
        mounted = {each["name"] for each in container["volumeMounts"]}
        assert mounted == declared, name
        assert "/tmp" in {each["mountPath"] for each in container["volumeMounts"]}


def test_a_worker_that_must_go_finishes_its_stage(chart):
    workers = [
        d for d in chart.of_kind("Deployment") if "ation" in d["metadata"]["name"]
    ]
    assert len(workers) >= 2
    for worker in workers:
        pod = worker["spec"]["template"]["spec"]
        given = variables(pod["containers"][0])
        limit = int(given["HANSEG_STAGE_SECONDS"])
        assert int(given["HANSEG_GRACE_SECONDS"]) >= limit
        assert pod["terminationGracePeriodSeconds"] > limit


def test_the_api_ends_requests_and_streams_before_it_is_killed(chart):
    pod = chart.find("Deployment", "hanseg-api")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    _, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    grace = int(variables(container)["HANSEG_GRACE_SECONDS"])
    assert int(pause) + grace < pod["terminationGracePeriodSeconds"]


def test_the_wait_follows_the_limit_of_a_stage():
    found = render({"stageSeconds": 1800}).find("Deployment", "hanseg-registration")
    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 1860


def test_nothing_but_the_api_is_started_anew_for_a_check_that_fails(chart):
    """A database that is away for minutes must not cost the jobs that run."""
    probed = {n for n, c in chart.containers() if "livenessProbe" in c}
    assert probed == {"hanseg-api"}
    ready = {n for n, c in chart.containers() if "readinessProbe" in c}
    assert ready == {d["metadata"]["name"] for d in chart.of_kind("Deployment")}


@pytest.mark.parametrize(
    ("workload", "recipe", "target"),
    [
        ("hanseg-api", "segmentation", "api"),
        ("hanseg-registration", "registration", "worker"),
        ("hanseg-segmentation-cpu", "segmentation", "worker"),
        ("hanseg-bridge", "dicom", "bridge"),
    ],
)
def test_probes_and_commands_are_those_of_the_images(large, workload, recipe, target):
    text = (PROJECT / "services" / recipe / "Dockerfile").read_text()
    stage = text.split(f" AS {target}\n")[1].split("\nFROM ")[0]
    health, command = re.findall(r"CMD (\[.*\])", stage)
    (container,) = large.find("Deployment", workload)["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["readinessProbe"]["exec"]["command"] == yaml.safe_load(health)
    assert container["command"] == yaml.safe_load(command)


def secrets_of(chart: Rendered, workload: str) -> set[str]:
    pod = dict(chart.pods())[workload]
    volumes = [each["secret"] for each in pod["volumes"] if "secret" in each]
    return {item["path"] for each in volumes for item in each["items"]}


def test_every_process_has_the_secrets_that_it_needs_and_no_more(large):
    store = {"hanseg_store_key_id", "hanseg_store_key_secret"}
    common, broker = {"hanseg_database_url"}, {"hanseg_broker_url"}
    assert secrets_of(large, "hanseg-api") == common | broker | store
    assert secrets_of(large, "hanseg-registration") == common | broker | store
    signing = common | broker | store | {"hanseg_signing_key"}
    assert secrets_of(large, "hanseg-segmentation-gpu") == signing
    assert secrets_of(large, "hanseg-sweep") == common | store
    assert secrets_of(large, "hanseg-migrations") == common
    bridge = {"key", "hanseg_bridge_orthanc_password"}
    assert secrets_of(large, "hanseg-bridge") == bridge


def test_no_secret_is_made_or_written_into_a_manifest(chart):
    assert not chart.of_kind("Secret", "ConfigMap")
    assert "password" not in yaml.safe_dump([*chart.manifests]).replace(
        "orthanc_password", ""
    ).replace("name: password", "")


def test_the_database_is_upgraded_before_new_processes_start(chart, charts):
    found = chart.of_kind("Job")
    if chart is charts["small"]:
        assert not found
        return
    (job,) = found
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_every_worker_and_the_api_have_a_disruption_budget(large):
    budgets = {
        b["metadata"]["name"]: b["spec"] for b in large.of_kind("PodDisruptionBudget")
    }
    parts = ("api", "registration", "segmentation-cpu", "segmentation-gpu")
    assert set(budgets) == {f"hanseg-{part}" for part in parts}
    for name, spec in budgets.items():
        labels = large.find("Deployment", name)["spec"]["template"]["metadata"][
            "labels"
        ]
        assert spec["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("queue", QueueName)
def test_workers_are_scaled_by_the_jobs_of_their_stages(large, queue):
    states = {
        state.value
        for stage in Stage
        if stage.queue is queue
        for state in stage.claimable_states
    }
    scaled = [
        s for s in large.of_kind("ScaledObject") if queue.value in s["metadata"]["name"]
    ]
    assert scaled
    for each in scaled:
        query = each["spec"]["triggers"][0]["metadata"]["query"]
        assert (
            set(re.findall(r"'(\w+)'", query)) == states <= {s.value for s in JobState}
        )
        assert f"FROM {jobs.name} WHERE {jobs.c.state.name} IN" in query
        name = each["spec"]["scaleTargetRef"]["name"]
        assert "replicas" not in large.find("Deployment", name)["spec"]


def test_a_scaled_down_gpu_may_go_altogether(large):
    gpu = large.find("ScaledObject", "hanseg-segmentation-gpu")["spec"]
    assert (gpu["minReplicaCount"], gpu["fallback"]["replicas"]) == (0, 1)


def test_every_pod_has_a_policy_and_only_the_api_is_reached(large):
    policies = {
        p["metadata"]["name"]: p["spec"] for p in large.of_kind("NetworkPolicy")
    }
    assert {name for name, _ in large.pods()} <= set(policies)
    reached = {name for name, spec in policies.items() if spec["ingress"]}
    assert reached == {"hanseg-api"}
    for spec in policies.values():
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert all(rule["ports"] for rule in spec["egress"])


def ports_out(chart: Rendered, part: str) -> set[Any]:
    spec = chart.find("NetworkPolicy", f"hanseg-{part}")["spec"]
    return {p["port"] for rule in spec["egress"] for p in rule["ports"]} - {53}


def test_a_way_out_is_open_to_whom_it_is_needed(large, charts):
    assert ports_out(large, "registration") == {5432, 6379, 443}
    assert ports_out(large, "sweep") == {5432, 443}
    assert ports_out(large, "bridge") == {8042, "http"}
    assert ports_out(charts["default"], "registration") == {5432, 6379}


def test_peers_narrow_the_ways_out():
    peer = {"ipBlock": {"cidr": "10.1.0.5/32"}}
    values = {"networkPolicies": {"database": {"ports": [6432], "to": [peer]}}}
    spec = render(values).find("NetworkPolicy", "hanseg-sweep")["spec"]
    assert {"ports": [{"port": 6432, "protocol": "TCP"}], "to": [peer]} in spec[
        "egress"
    ]


def test_a_site_lets_the_sweep_tell_its_receivers():
    rule = {
        "ports": [{"port": 8443, "protocol": "TCP"}],
        "to": [{"ipBlock": {"cidr": "10.1.0.7/32"}}],
    }
    chart = render({"networkPolicies": {"ofSweep": [rule]}})
    for part, open_ in (("sweep", True), ("api", False)):
        spec = chart.find("NetworkPolicy", f"hanseg-{part}")["spec"]
        assert (rule in spec["egress"]) is open_


def test_the_names_of_ingress_and_service_are_allowed(large, charts):
    def hosts(chart: Rendered) -> str:
        return variables(dict(chart.containers())["hanseg-api"])["HANSEG_HOSTS"]

    assert hosts(large) == "contours.example.org,hanseg-api"
    assert hosts(charts["default"]) == "hanseg-api"
    (ingress,) = large.of_kind("Ingress")
    assert ingress["spec"]["tls"][0]["hosts"] == ["contours.example.org"]


def test_a_site_may_set_what_the_chart_sets_too():
    chart = render({"settings": {"HANSEG_HOSTS": "*"}})
    (given,) = [e for e in dict(chart.containers())["hanseg-api"]["env"]
                if e["name"] == "HANSEG_HOSTS"]  # fmt: skip
    assert given["value"] == "*"


def test_patients_data_outlive_the_release(charts):
    (claim,) = charts["default"].of_kind("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    stored = [
        c["metadata"]["name"] for c in charts["large"].of_kind("PersistentVolumeClaim")
    ]
    assert stored == ["hanseg-bridge"]


def test_every_value_is_explained():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    with_words = (CHART / "values.yaml").read_text()
    for name in values:
        assert re.search(rf"(^#.*\n)+{name}:", with_words, re.MULTILINE), name


def test_the_charts_version_is_that_of_the_project():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (PROJECT / "shared" / "pyproject.toml").read_text()
    assert chart["version"] == chart["appVersion"]
    assert f'version = "{chart["version"]}"' in project
