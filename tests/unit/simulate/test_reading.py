"""What a trace's file means, and what is said about one that is wrong."""

from __future__ import annotations

import pytest

from footplate_hub.queue.model import Amount
from footplate_hub.simulate.load import cut, offered
from footplate_hub.simulate.reading import read
from footplate_hub.simulate.trace import Outage, TraceError

GI = 2**30
NODES = "name,cpu,memory,gpu,flavor\nn1,8,64Gi,8,h100\n"


def trace(folder, jobs: str, nodes: str = NODES):
    (folder / "jobs.csv").write_text(jobs)
    (folder / "nodes.csv").write_text(nodes)
    return read(folder / "jobs.csv")


def test_a_job_and_a_node_in_all_their_columns(tmp_path):
    found = trace(
        tmp_path,
        "id,submit,duration,replicas,gpu,cpu,memory,flavor,time_limit,group,owner,name,priority,topology,checkpoint\n"
        "b,20,60,1,0,,,,,,,,,,\n"
        "a,10,3600,2,4,2.5,16Gi,h100|a100,2h,lab/vision,ada,train,high,rack,10m\n",
        "name,cpu,memory,gpu,flavor,levels,count,outages\n"
        "n,8,64Gi,8,h100,hall/rack-7,2,100-200;300-\nm,8,64Gi,8,a100,,,\n",
    )
    a, b = found.jobs
    [role] = a.shape.roles
    assert (role.replicas, role.need, role.flavors) == (2, Amount(2500, 16 * GI, 4), ("h100", "a100"))
    assert (a.time_limit, a.group, a.owner, a.name, a.priority) == (7200, "lab/vision", "ada", "train", 100)
    assert (a.shape.topology, a.checkpoint, a.gpus) == ("rack", 600, 8)
    assert (b.time_limit, b.group, b.shape.roles[0].need) == (86400, "default", Amount(1000))
    assert [(node.name, node.levels) for node in found.nodes] == [
        ("n-0", ("hall", "rack-7")),
        ("n-1", ("hall", "rack-7")),
        ("m", ()),
    ]
    assert found.outages[:2] == (
        Outage("trace", "n-0", 100, 200),
        Outage("trace", "n-0", 300, float("inf")),
    )


@pytest.mark.parametrize(
    ("jobs", "sentence"),
    [
        ("id,submit,durration\na,0,1\n", "line 1: has no column 'duration' (is 'durration' meant?)"),
        ("id,submit,duration,gpus\na,0,1,2\n", "line 1: has an unknown column 'gpus'; did you mean 'gpu'?"),
        ("id,submit,duration\na,0,1\nb,1,-5\n", "line 3: duration is -5, which is less than 0"),
        ("id,submit,duration\na,0,\n", "line 2: duration is empty"),
        ("id,submit,duration\na,soon,1\n", "line 2: submit is 'soon'; give a number"),
        ("id,submit,duration\na,nan,1\n", "line 2: submit is nan"),
        ("id,submit,duration,gpu\na,0,1,0.5\n", "line 2: gpu is 0.5; give a whole number"),
        ("id,submit,duration,replicas\na,0,1,0\n", "line 2: replicas is 0"),
        ("id,submit,duration,replicas\na,0,1,1000000000\n", "line 2: replicas is 1000000000; at most"),
        ("id,submit,duration,memory\na,0,1,much\n", "line 2: memory: 'much' is not an amount of memory"),
        ("id,submit,duration,flavor\na,0,1,h10\n", "line 2: job a wants flavor 'h10', which no node has"),
        ("id,submit,duration,priority\na,0,1,urgent\n", "line 2: priority is 'urgent'"),
        ("id,submit,duration,topology\na,0,1,hall\n", "line 2: topology is 'hall'; there are any, node"),
        ("id,submit,duration\na,0,1\na,0,1\n", "line 3: job a is there twice"),
        ("id,submit,duration\na,0,1,9\n", "line 2: has more cells than the header"),
        ("id,submit,duration\n", "jobs.csv: has no jobs"),
        ("", "jobs.csv: is empty"),
    ],
)  # fmt: skip
def test_a_wrong_trace_is_one_sentence_with_its_line(tmp_path, jobs, sentence):
    with pytest.raises(TraceError) as error:
        trace(tmp_path, jobs)
    assert sentence in str(error.value)
    assert str(error.value).startswith("jobs.csv")


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ("name,cpu\nn,1\n", "nodes.csv, line 1: has no column 'memory'"),
        ("name,cpu,memory,outages\nn,1,1Gi,9-3\n", "line 2: outages has '9-3'"),
        ("name,cpu,memory,outages\nn,1,1Gi,1-5;4-9\n", "line 2: outages has '4-9', which starts before"),
        ("name,cpu,memory\nn,1,1Gi\nn,1,1Gi\n", "line 3: node n is there twice"),
        ("name,cpu,memory,gpu\nn,1,1Gi,-1\n", "line 2: gpu is -1"),
    ],
)
def test_a_wrong_list_of_nodes_is_one_sentence_with_its_line(tmp_path, nodes, sentence):
    with pytest.raises(TraceError) as error:
        trace(tmp_path, "id,submit,duration\na,0,1\n", nodes)
    assert sentence in str(error.value)


def test_a_trace_without_nodes_asks_for_them(tmp_path):
    (tmp_path / "mine.csv").write_text("id,submit,duration\na,0,1\n")
    with pytest.raises(TraceError, match="name the file that lists them with --nodes"):
        read(tmp_path / "mine.csv")
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        read(tmp_path / "mine.csv", tmp_path / "absent.csv")


OPENB_NODES = "sn,cpu_milli,memory_mib,gpu,model\n" + "".join(
    f"node-{n},96000,393216,8,G2\n" for n in range(40)
)
OPENB_PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
    "creation_time,deletion_time,scheduled_time\n"
)


def openb(folder, pods: list[str]):
    (folder / "openb_nodes.csv").write_text(OPENB_NODES)
    (folder / "openb_pods.csv").write_text(OPENB_PODS + "\n".join(pods) + "\n")
    return read(folder / "openb_pods.csv")


def test_openb_tasks_become_seeded_gangs_with_limits_and_keep_their_gpus(tmp_path):
    pods = [
        f"p-{n},4000,8192,1,{470 if n % 2 else 1000},,LS,Running,{1000 + n},{2000 + 2 * n},{1000 + n}"
        for n in range(2000)
    ]
    pods.append("p-8,8000,8192,8,1000,,BE,Running,1500,1600,1500")
    pods.append("p-never,8000,8192,1,1000,,BE,Pending,1500,1600,")
    found = openb(tmp_path, pods)
    assert sum(job.gpus for job in found.jobs) == 2008
    sizes = {job.shape.roles[0].replicas for job in found.jobs}
    assert {1, 2, 4, 8} <= sizes <= {1, 2, 4, 8, 16, 32, 64}
    assert all(job.time_limit > job.duration for job in found.jobs)
    assert {job.group for job in found.jobs} == {"ls", "be"}
    assert found == openb(tmp_path, pods)
    assert any("1 pods that were never scheduled" in note for note in found.notes)


def test_nodes_are_cut_to_the_offered_load_and_the_largest_job_still_fits(tmp_path):
    pods = [f"p-{n},4000,8192,1,1000,,LS,Running,{60 * n},{60 * n + 3600},{60 * n}" for n in range(3000)]
    whole = openb(tmp_path, pods)
    part = cut(whole, 0.9)
    assert 0.85 < offered(part) < 0.95
    assert len(part.nodes) < len(whole.nodes) == 40
    largest = max(job.gpus for job in part.jobs)
    assert largest <= sum(node.capacity.gpu for node in part.nodes)
    assert cut(whole, 0.9).nodes == part.nodes


def test_a_load_needs_jobs_that_come_over_time(tmp_path):
    with pytest.raises(TraceError, match="come at one time"):
        cut(trace(tmp_path, "id,submit,duration,gpu\na,0,1,1\nb,0,1,1\n"), 0.9)
    with pytest.raises(TraceError, match="above 0"):
        cut(trace(tmp_path, "id,submit,duration,gpu\na,0,1,1\nb,5,1,1\n"), 0)


def test_spot_gpu_lists_nodes(tmp_path):
    (tmp_path / "mine.csv").write_text("id,submit,duration,gpu,flavor\na,0,1,1,h800\n")
    (tmp_path / "spot.csv").write_text("gpu_model,gpu_capacity_num,cpu_num,node_name\nH800,8,192,n7\n")
    [node] = read(tmp_path / "mine.csv", tmp_path / "spot.csv").nodes
    assert (node.name, node.flavor, node.capacity) == ("n7", "h800", Amount(192000, 192 * 8 * GI, 8))


SACCT = "JobID|Submit|Start|End|Timelimit|ReqTRES|NNodes|Account|User|JobName\n"


def sacct(folder, lines: str):
    (folder / "sacct.txt").write_text(SACCT + lines)
    (folder / "nodes.csv").write_text(NODES)
    return read(folder / "sacct.txt", folder / "nodes.csv")


def test_sacct_output_is_read(tmp_path):
    found = sacct(
        tmp_path,
        "7|2026-01-01T00:00:10|2026-01-01T00:01:00|2026-01-01T01:01:00|1-00:30:00|"
        "billing=8,cpu=8,gres/gpu:H100=4,gres/gpu=4,mem=64G,node=2|2|vision|ada|train\n"
        "7.batch|2026-01-01T00:00:10|2026-01-01T00:01:00|2026-01-01T01:01:00||cpu=8|2|vision||batch\n"
        "8|2026-01-01T00:00:00|2026-01-01T00:00:05|2026-01-01T00:00:15|UNLIMITED|cpu=1,mem=512M|1|nlp|bo|x\n"
        "9|2026-01-01T00:00:00|Unknown|Unknown|UNLIMITED|cpu=1|1|nlp|bo|x\n",
    )
    first, second = found.jobs
    assert (first.id, first.submit, first.duration, first.time_limit) == ("8", 0, 10, 86400)
    assert (second.id, second.submit, second.duration, second.time_limit) == ("7", 10, 3600, 88200)
    assert second.shape.roles[0].need == Amount(4000, 32 * GI, 2)
    assert (second.shape.roles[0].replicas, second.shape.roles[0].flavors) == (2, ("h100",))
    assert (second.group, second.owner, second.name) == ("vision", "ada", "train")
    assert found.notes == ("1 jobs that never ran or have not ended are left out",)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("7|soon|2026-01-01|2026-01-02||cpu=1|1|a|b|c\n", "line 2: Submit is 'soon'"),
        ("7|1|9|3||cpu=1|1|a|b|c\n", "line 2: the job ends before it starts"),
        ("7|1|2|3|soon|cpu=1|1|a|b|c\n", "line 2: Timelimit is 'soon'"),
        ("7|1|2|3||gres/gpu=3|2|a|b|c\n", "line 2: 3 GPUs do not divide into 2 nodes"),
        ("7|1|2|3||cpu=many|2|a|b|c\n", "line 2: 'cpu=many' is not a resource"),
    ],
)
def test_wrong_sacct_output_is_one_sentence_with_its_line(tmp_path, line, sentence):
    with pytest.raises(TraceError) as error:
        sacct(tmp_path, line)
    assert sentence in str(error.value)
