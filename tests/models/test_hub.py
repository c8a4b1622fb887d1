"""Models of the hub, from a server on this machine that speaks its protocol."""

import json
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hub_server import HubServer, Repository, read_folder
from huggingface_hub import close_session, constants
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from course_utils.models import hub, hub_download, loading, profile
from course_utils.models.cache import ModelError

NAME = "tiny/llama"
WEIGHTS = "model.safetensors"
CUT = 100_000  # bytes; the weights are longer


def tiny_model(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The files of a repository, and the model they hold."""
    folder = tmp_path_factory.mktemp("saved")
    model = tiny_model(0)
    model.save_pretrained(folder)
    words = models.WordLevel({"<unk>": 0, "one": 1}, unk_token="<unk>")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words)).save_pretrained(folder)
    files = read_folder(folder)
    assert len(files[WEIGHTS]) > 2 * CUT
    # What a repository may hold besides, and what must never be fetched.
    for name in ("pytorch_model.bin", "modeling.py", "README.md", "onnx/config.json"):
        files[name] = b"{}"
    return SimpleNamespace(model=model, files=files)


@pytest.fixture
def server(saved, tmp_path, monkeypatch):
    """A hub with one model, to which huggingface_hub talks, and an empty cache."""
    with HubServer() as server:
        server.repositories[NAME] = Repository()
        server.repositories[NAME].commit(saved.files, "main")
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(profile, "hub_reachable", lambda: True)
        monkeypatch.setattr(hub_download, "WAIT_SECONDS", 0)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


def offline(monkeypatch):
    monkeypatch.setattr(profile, "hub_reachable", lambda: False)


def store(tmp_path):
    return tmp_path / "hub" / "models--tiny--llama"


def refusal(name: str = NAME, **options: object) -> str:
    """Return the one sentence with which loading is refused."""
    with pytest.raises(ModelError) as raised:
        loading.source(name, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_weights_are_exactly_those_of_the_hub(server, saved):
    lines = []
    model, tokenizer, card = loading.load(NAME, progress=lines.append)
    expected = saved.model.state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(w, expected[n]) for n, w in model.state_dict().items())
    assert tokenizer("one")["input_ids"] == [1]
    assert card.revision == server.repositories[NAME].refs["main"]
    assert (card.id, card.source) == (NAME, "Hugging Face hub")
    assert lines[0].startswith("Downloading tiny/llama (")
    assert lines[-1].startswith("100 %: ")
    assert not any("\r" in line or "\n" in line for line in lines)


def test_only_safe_files_of_the_top_folder_are_asked_for(server):
    loading.source(NAME)
    for name in ("pytorch_model.bin", "modeling.py", "README.md", "onnx/config.json"):
        assert not server.asked_for(name)
    assert server.asked_for("config.json")


def test_the_second_time_nothing_is_downloaded(server):
    first = loading.source(NAME)
    asked = len(server.requests)
    lines = []
    assert loading.source(NAME, progress=lines.append) == first
    assert lines == []
    paths = [path for _, path, _ in server.requests[asked:]]
    assert paths
    assert all(path.startswith("/api/") for path in paths)


def test_a_token_goes_to_the_hub_and_not_to_the_store(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    loading.source(NAME)
    assert {path.split("/")[1] for path in server.tokens} == {"api", "tiny"}
    assert server.of_the_store()


def test_no_other_host_is_asked(server, monkeypatch):
    asked = set()
    connect = socket.socket.connect

    def watched(self, address):
        asked.add(address[:2])
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    loading.source(NAME)
    assert asked <= {(host, server.server_port) for host in ("127.0.0.1", "::1")}
    assert asked


def test_a_cut_is_mended_at_once(server, saved, tmp_path):
    server.cuts = [CUT]
    folder = loading.source(NAME)
    assert server.of_the_store() == [None, f"bytes={CUT}-"]
    assert read_folder(Path(folder))[WEIGHTS] == saved.files[WEIGHTS]
    assert not list(store(tmp_path).glob("blobs/*.partial"))


def test_a_lasting_cut_says_that_the_same_command_goes_on(server, saved):
    # One answer with bytes, then as many empty ones as are tried in a row.
    server.cuts = [CUT] + [0] * hub_download.ATTEMPTS
    assert refusal() == (
        f"The download of {NAME} was cut; run the same command again, it goes on "
        "where it stopped."
    )
    before = len(server.of_the_store())
    lines = []
    folder = loading.source(NAME, progress=lines.append)
    assert server.of_the_store()[before:] == [f"bytes={CUT}-"]
    assert lines[0].startswith(f"Going on with {NAME}")
    assert read_folder(Path(folder))[WEIGHTS] == saved.files[WEIGHTS]


def test_a_server_that_knows_no_ranges_sends_everything_again(server, saved):
    server.ignore_range = True
    server.cuts = [CUT]
    lines = []
    folder = loading.source(NAME, progress=lines.append)
    assert read_folder(Path(folder))[WEIGHTS] == saved.files[WEIGHTS]
    assert [line.partition(" %")[0] for line in lines[1:]].count("100") == 1


def test_damaged_bytes_are_noticed_and_not_kept(server):
    server.damage = True
    assert refusal().startswith("model.safetensors arrived with another sha256")
    server.damage = False
    loading.source(NAME)
    assert server.of_the_store() == [None, None]


def test_a_revision_is_a_branch_a_tag_or_a_commit(server, saved, tmp_path):
    tiny_model(1).save_pretrained(tmp_path / "other")
    files = {**saved.files, **read_folder(tmp_path / "other")}
    commit = server.repositories[NAME].commit(files, "v1", "refs/pr/1")
    for revision in ("v1", "refs/pr/1", commit):
        assert loading.load(NAME, revision=revision).card.revision == commit
    model = loading.load(NAME, revision="v1").model
    expected = tiny_model(1).lm_head.weight
    assert torch.equal(model.lm_head.weight, expected)
    assert not torch.equal(loading.load(NAME).model.lm_head.weight, expected)


def test_an_unknown_revision(server):
    assert refusal(revision="v9") == (
        f"{NAME} has no revision 'v9'; give a branch, a tag or a commit."
    )


def test_an_unknown_model(server):
    assert refusal("tiny/nothing").startswith("The hub has no model tiny/nothing")


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_names_an_ungated_one_of_its_size(server, saved, status):
    repository = Repository(gated=status)
    repository.commit(saved.files, "main")
    server.repositories["meta-llama/Llama-3.2-1B"] = repository
    lines = []
    assert refusal("meta-llama/Llama-3.2-1B", progress=lines.append) == (
        "meta-llama/Llama-3.2-1B is gated: accept its licence on "
        f"{server.url}/meta-llama/Llama-3.2-1B and set HF_TOKEN, or use an ungated "
        "model such as TinyLlama/TinyLlama-1.1B-Chat-v1.0."
    )
    assert lines == []
    assert server.of_the_store() == []


def test_no_room_is_said_before_the_download(server, saved, monkeypatch):
    needs = sum(len(c) for n, c in saved.files.items() if hub.wanted(n))
    free = SimpleNamespace(free=needs - 1)
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda _: free)
    assert "set HF_HUB_CACHE to another folder" in refusal()
    assert all(path.startswith("/api/") for _, path, _ in server.requests)
    free.free = needs
    loading.source(NAME)


def test_a_partial_download_needs_only_the_rest(server, saved, monkeypatch):
    server.cuts = [CUT] + [0] * hub_download.ATTEMPTS
    refusal()
    needs = sum(len(c) for n, c in saved.files.items() if hub.wanted(n)) - CUT
    free = SimpleNamespace(free=needs - 1)
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda _: free)
    assert "set HF_HUB_CACHE to another folder" in refusal()
    free.free = needs
    folder = Path(loading.source(NAME))
    assert (folder / WEIGHTS).read_bytes() == saved.files[WEIGHTS]


def test_only_pickled_weights(server, saved):
    files = {name: c for name, c in saved.files.items() if name != WEIGHTS}
    server.repositories["tiny/pickled"] = Repository()
    server.repositories["tiny/pickled"].commit(files, "main")
    assert "only as pickle files" in refusal("tiny/pickled")
    assert not server.asked_for("pytorch_model.bin")
    del files["pytorch_model.bin"]
    server.repositories["tiny/empty"] = Repository()
    server.repositories["tiny/empty"].commit(files, "main")
    assert "no safetensors weights" in refusal("tiny/empty")


def test_a_hub_in_trouble(server):
    server.status = 503
    assert refusal().startswith("The hub answered with status 503 for tiny/llama")
    server.status = 403
    assert "check HF_TOKEN" in refusal()


def test_a_server_that_is_no_hub(server):
    server.stranger = True
    assert refusal() == (
        f"{server.url} does not answer as a model hub does; check HF_ENDPOINT and the "
        "proxy settings."
    )


def test_without_a_hub_a_complete_copy_is_enough(server, monkeypatch):
    online = loading.source(NAME)
    asked = len(server.requests)
    offline(monkeypatch)
    assert loading.source(NAME) == online
    assert loading.load(NAME).card.revision == server.repositories[NAME].refs["main"]
    assert len(server.requests) == asked


def test_a_hub_that_goes_away_is_no_hub(server):
    online = loading.source(NAME)
    asked = len(server.requests)
    server.shutdown()
    server.server_close()
    close_session()  # a connection kept open would still be answered
    assert loading.source(NAME) == online
    assert len(server.requests) == asked


def test_without_a_hub_and_without_a_copy(server, monkeypatch):
    offline(monkeypatch)
    assert "is not in the cache; connect" in refusal()
    assert "is not in the cache in revision v1" in refusal(revision="v1")
    assert server.requests == []


@pytest.mark.parametrize("listing", [True, False])
def test_without_a_hub_a_part_of_a_copy_is_refused(
    server, monkeypatch, tmp_path, listing
):
    folder = Path(loading.source(NAME))
    (folder / WEIGHTS).unlink()
    if not listing:  # an older huggingface_hub keeps no list of what belongs there
        shutil.rmtree(store(tmp_path) / "trees")
        for trees in hub_listings():
            trees.clear()
    offline(monkeypatch)
    assert "holds only a part of tiny/llama" in refusal()


def hub_listings():
    """Return huggingface_hub's in-memory lists of files."""
    from huggingface_hub import _tree_cache  # noqa: PLC0415

    return [_tree_cache._IN_MEMORY_TREE_CACHE]


def test_weights_in_several_files(server, saved, monkeypatch, tmp_path):
    saved.model.save_pretrained(tmp_path / "shards", max_shard_size="150KB")
    files = {n: c for n, c in saved.files.items() if n != WEIGHTS}
    files |= read_folder(tmp_path / "shards")
    shards = [name for name in files if name.endswith(".safetensors")]
    assert len(shards) > 1
    server.repositories["tiny/shards"] = Repository()
    server.repositories["tiny/shards"].commit(files, "main")
    folder = Path(loading.source("tiny/shards"))
    assert len(server.of_the_store()) == len(shards)
    assert hub.missing(folder) == []
    model = loading.load("tiny/shards").model
    assert torch.equal(model.lm_head.weight, saved.model.lm_head.weight)
    (folder / shards[0]).unlink()
    assert hub.missing(folder) == shards[:1]
    asked = len(server.of_the_store())
    loading.source("tiny/shards")  # its blob is still there: nothing to download
    assert len(server.of_the_store()) == asked
    assert hub.missing(folder) == []


def test_two_processes_download_once(server):
    """The second one waits at the lock that huggingface_hub uses too."""
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(lambda _: loading.source(NAME), range(2)))
    assert len(folders) == 1
    assert server.of_the_store() == [None]


def test_a_name_that_is_none(server):
    assert "names have the form owner/model" in refusal("tiny/lla ma")


def test_revisions_belong_to_the_hub():
    assert "has no revisions" in refusal("embedded", revision="main")


def test_the_environment_alone_is_enough(server, saved, tmp_path):
    """A fresh process finds the server through HF_ENDPOINT and loads from it."""
    code = (
        "from course_utils.models import load\n"
        f"model, tokenizer, card = load({NAME!r})\n"
        "print(card.revision, card.n_params)"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "TRANSFORMERS_", "COURSE_"))
    }
    environment |= {
        "HF_ENDPOINT": server.url,
        "HF_HUB_CACHE": str(tmp_path / "other"),
        "HF_HOME": str(tmp_path / "home"),
        "COURSE_PROFILE": "ci",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    n_params = sum(p.numel() for p in saved.model.parameters())
    commit = server.repositories[NAME].refs["main"]
    assert done.stdout.splitlines()[-1] == f"{commit} {n_params}"
    assert "100 %" in done.stdout


@pytest.mark.parametrize("cuts", [[], [CUT]])
def test_a_file_without_an_end_is_stopped(server, saved, tmp_path, monkeypatch, cuts):
    length = len(saved.files[WEIGHTS])
    most = 0

    def watched(self, n_bytes):
        nonlocal most
        self.done += n_bytes
        most = max(most, self.done)

    monkeypatch.setattr(hub_download.Lines, "__call__", watched)
    server.surplus, server.cuts = bytes(10 * length), cuts
    said = refusal()
    assert said.startswith("model.safetensors is longer than the")
    assert said.endswith("it was deleted, run the same command again.")
    assert most <= length
    assert not list(store(tmp_path).glob("blobs/*"))
    server.surplus = b""
    folder = loading.source(NAME)
    assert read_folder(Path(folder))[WEIGHTS] == saved.files[WEIGHTS]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("sha256", "../../../../escape"),
        ("sha256", "A" * 64),
        ("sha256", "a" * 64 + "\n"),
        ("commit", "../../../escape"),
        ("commit", "main"),
        ("commit", ""),
    ],
)
def test_what_would_lead_out_of_the_cache_is_refused(server, tmp_path, kind, value):
    server.said = {kind: value}
    before = sorted(tmp_path.rglob("*"))
    assert f"{kind} {value!r}, which is not one" in refusal()
    assert sorted(tmp_path.rglob("*")) == before
    assert server.of_the_store() == []


@pytest.mark.parametrize("name", ["..\\x.json", "C:x.json"])
def test_a_file_name_that_is_a_path_is_refused(server, saved, name):
    assert hub.wanted(name)
    server.repositories[NAME].commit({**saved.files, name: b"{}"}, "main")
    assert f"file name {name!r}, which is not one" in refusal()
    assert server.of_the_store() == []


def listed(folder: Path, text: str) -> list[str]:
    """Return what is missing in a folder with one shard and this list of weights."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for path in (folder, folder.parent):
        for name in ("a.safetensors", "a.bin"):
            (path / name).write_bytes(b"")
    (folder / "model.safetensors.index.json").write_text(text)
    return hub.missing(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", "null", '{"weight_map": []}', '{"weight_map": {}}']
)
def test_a_broken_list_of_weights_counts_as_missing(tmp_path, text):
    folder = tmp_path / "model"
    assert listed(folder, text) == ["model.safetensors.index.json"]
    with pytest.raises(ModelError, match="holds no model"):
        loading.source(str(folder))


@pytest.mark.parametrize(
    "shard", ["../a.safetensors", "x/../a.safetensors", "..", "", "a.bin", 5, None]
)
def test_a_shard_elsewhere_counts_as_missing(tmp_path, shard):
    good = {"v": "a.safetensors"}
    assert listed(tmp_path / "one", json.dumps({"weight_map": good})) == []
    both = json.dumps({"weight_map": {**good, "w": shard}})
    assert listed(tmp_path / "two", both) == [str(shard)]


def test_a_shard_with_a_full_path_counts_as_missing(tmp_path):
    shard = str(tmp_path / "a.safetensors")
    text = json.dumps({"weight_map": {"w": shard}})
    assert listed(tmp_path / "model", text) == [shard]


def test_an_endpoint_that_is_no_address_is_one_sentence(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://x:abc")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(profile, "hub_reachable", lambda: bool(profile._hub_address()))
    assert "HF_ENDPOINT is 'http://x:abc'" in refusal()
