"""A table of bad inputs, most of them generated from annotations: each is refused in one line that names the option."""

import pytest
from laser_wireless.benchmarks.cli import main
from laser_wireless.benchmarks.vocabulary import CLASSES

from tests.helpers import bad_inputs

OPTIONS = {command: list(bad_inputs.bad_options(command, settings)) for command, settings in bad_inputs.COMMANDS.items()}
ARGUMENTS = {word: list(bad_inputs.bad_arguments(word)) for word in CLASSES}
PLACES = list(bad_inputs.bad_places())


@pytest.fixture(autouse=True)
def _in_a_folder_with_good_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    for name, text in bad_inputs.FILES.items():
        (tmp_path / name).write_text(text)


def faults(rows, capsys, folder):
    """What is wrong with how bad inputs are refused: one line for each."""
    before = sorted(folder.rglob("*"))
    found = []
    for words, name in rows:
        line = " ".join(words)
        try:
            status = main(words)
        except BaseException as error:  # what would be a traceback
            found.append(f"{line}: {type(error).__name__}: {error}")
            continue
        said = capsys.readouterr().err
        if status != 2:
            found.append(f"{line}: status {status}, {said!r}")
        elif said.count("\n") != 1 or not said.startswith(f"laser {words[0]}: ") or name not in said or "Traceback" in said:
            found.append(f"{line}: said {said!r}, which should be one line with {name!r}")
        elif sorted(folder.rglob("*")) != before:
            found.append(f"{line}: left files behind")
    return found


@pytest.mark.parametrize("command", OPTIONS, ids=lambda command: f"{command}: {len(OPTIONS[command])} inputs")
def test_options_of_every_command(command, capsys, tmp_path):
    assert faults(OPTIONS[command], capsys, tmp_path) == []


@pytest.mark.parametrize("word", ARGUMENTS, ids=lambda word: f"{word}: {len(ARGUMENTS[word])} inputs")
def test_arguments_of_every_class(word, capsys, tmp_path):
    assert faults(ARGUMENTS[word], capsys, tmp_path) == []


def test_places_of_components(capsys, tmp_path):
    assert faults(PLACES, capsys, tmp_path) == []


def test_the_table_is_large():
    assert sum(map(len, OPTIONS.values())) + sum(map(len, ARGUMENTS.values())) + len(PLACES) >= 300


HUGE = bad_inputs.HUGE
SCHEMES = "sweep sweep.yaml --schemes"
LINES = [  # what a stranger may type, and the name that the answer must hold
    ("run --seed 1 --seed 2", "--seed"),
    ("run --seed=1 --seed 1", "--seed"),
    ("run --config a.yaml --config b.yaml", "--config"),
    ("run --config", "--config"),
    ("run --config .", ". cannot be read"),
    ("run --config none.yaml", "none.yaml"),
    ("run seed 1", "'seed'"),
    ("run -seed 1", "'-seed'"),
    ("run --seed -5", "seed must be >= 0"),
    ("run --seed 18446744073709551616", "seed must be an integer of at most 2^63 - 1"),
    (f"run --num_devices {HUGE}", "num_devices"),
    ("run --num_devices true", "num_devices must be an integer, got true"),
    ("run --num_devices 1.5", "num_devices must be an integer, got 1.5"),
    ("run --num_devices 1:10", "num_devices must be an integer, got '1:10'"),
    ("run --num_devices 1_000", "num_devices must be an integer, got '1_000'"),
    ("run --num_devices 2026-01-01", "num_devices must be an integer, got '2026-01-01'"),
    ("run --num_rounds 1e999", "--num_rounds"),
    ("run --num_rounds " + "9" * 5000, "--num_rounds"),
    ("run --learning_rate .nan", "learning_rate must be a number, got nan"),
    ("run --learning_rate nan", "YAML writes .nan"),
    ("run --learning_rate inf", "YAML writes .inf"),
    ("run --learning_rate .inf", "learning_rate must be finite and > 0"),
    ("run --checkpoint_seconds -1", "checkpoint_seconds must be >= 0"),
    ("run --device tpu", "--device must be 'auto', 'cpu', 'cuda', got 'tpu'"),
    ("run --device 3", "--device"),
    ("run --output=", "--output must not be empty"),
    ("run --outptu a", "did you mean --output"),
    ("run --jobs 2", "--jobs is not an option here"),
    ("run --task.width 010x", "task.width"),
    ("run --task.width yes", "task.width must be an integer, got 'yes'"),
    ("run --task.averaging 1", "averaging must lie in [0, 1)"),
    ("run --task.weight_decay -1", "weight_decay must be finite and >= 0"),
    ("run --compressor.error_feedback yes", "error_feedback must be true or false, got 'yes'"),
    ("run --compressor.error_feedback on", "error_feedback must be true or false, got 'on'"),
    ("run --compressor.error_feedback 1", "error_feedback must be true or false, got 1"),
    ("run --compressor.rank 4 --compressor.rank 5", "--compressor.rank"),
    ("run --compressor.rank.x 4", "--compressor.rank.x"),
    ("run --compressor LowRank --compressor.0.rank 4", "compressor.0"),
    ("run --compressor [LowRank", "--compressor"),
    ("run --compressor noiseless", "take z-sgd"),
    ("run --compressor=", "compressor must be Compressor, got null"),
    ("run --uplink.energy_budget [1,true]", "energy_budget[1] must be a number, got true"),
    ("run --uplink.energy_budget [1,-1]", "energy_budget"),
    ("run --uplink.impairments.0.x 1", "impairments"),
    ("run --uplink.impairments [Rapp] --uplink.impairments.1.smoothness 2", "impairments is a list of 1"),
    ("run --uplink.impairments [3]", "impairments[0] must be Impairment, got 3"),
    ("run --uplink.csi [NoCsi,null]", "csi[1] must be Csi, got null"),
    ("sweep sweep.yaml --jobs .inf", "--jobs must be an integer, got inf"),
    ("sweep sweep.yaml --jobs 1.5", "--jobs must be an integer, got 1.5"),
    ("sweep sweep.yaml --jobs -5", "--jobs must be an integer >= 0, got -5"),
    ("sweep sweep.yaml --jobs many", "--jobs must be an integer, got 'many'"),
    ("sweep sweep.yaml --jobs null", "--jobs"),
    (f"sweep sweep.yaml --jobs {HUGE}", "--jobs"),
    ("sweep sweep.yaml --scale tiny", "--scale must be 'full', 'small', got 'tiny'"),
    ("sweep sweep.yaml --scale 3", "--scale"),
    ("sweep sweep.yaml --scale", "--scale"),
    ("sweep sweep.yaml spectrum.yaml", "'spectrum.yaml' is not an option"),
    ("sweep sweep.yaml --config spectrum.yaml", "--config"),
    ("sweep --config none.yaml", "none.yaml"),
    ("sweep .", "'.'"),
    ("sweep", "task"),
    ("sweep sweep.yaml --seeds [0,-1]", "seeds[1] must be an integer >= 0, got -1"),
    ("sweep sweep.yaml --seeds [0,0]", "seeds"),
    ("sweep sweep.yaml --seeds [0,true]", "seeds[1]"),
    ("sweep sweep.yaml --seeds []", "seeds"),
    ("sweep sweep.yaml --seeds 3", "seeds must be a list of integers, got 3"),
    ("sweep sweep.yaml --seeds [18446744073709551616]", "seeds[0]"),
    ("sweep sweep.yaml --energy_budgets [1,.nan]", "energy_budgets[1] must be a number, got nan"),
    ("sweep sweep.yaml --energy_budgets [1,.inf]", "energy_budgets[1] must be finite and > 0, got inf"),
    ("sweep sweep.yaml --energy_budgets [0,-1]", "energy_budgets[0] must be finite and > 0, got 0"),
    ("sweep sweep.yaml --energy_budgets [1,null]", "energy_budgets[1] must be a number, got null"),
    ("sweep sweep.yaml --energy_budgets [2,1]", "energy_budgets must be > 0 and ascending"),
    ("sweep sweep.yaml --learning_rates [.nan]", "learning_rates[0] must be a number, got nan"),
    ("sweep sweep.yaml --learning_rates [0.1,.inf]", "learning_rates[1] must be finite and > 0, got inf"),
    ("sweep sweep.yaml --learning_rates {laser:[0.1],default:[1,-1]}", "learning_rates"),
    ("sweep sweep.yaml --learning_rates.laser [0]", "learning_rates"),
    ("sweep sweep.yaml --targets [.nan]", "targets[0] must be a number, got nan"),
    ("sweep sweep.yaml --targets [1,.inf]", "targets[1] must be finite, got inf"),
    ("sweep sweep.yaml --metric loss3", "metric must be one of"),
    ("sweep sweep.yaml --reference sgd", "reference must be one of the schemes"),
    ("sweep sweep.yaml --result first", "result must be 'last', 'best', got 'first'"),
    ("sweep sweep.yaml --tune.laser.rank 3", "tune"),
    ("sweep sweep.yaml --tune {laser:{rank:3}}", "tune"),
    ("sweep sweep.yaml --tune {laser:{rnk:[3]}}", "'rnk'"),
    ("sweep sweep.yaml --tune {laser:{rank:[null]}}", "schemes.laser.rank must be an integer, got null"),
    ("sweep sweep.yaml --tune {lasr:{rank:[3]}}", "did you mean laser"),
    ("sweep sweep.yaml --uplink null", "uplink must be one component"),
    ("sweep sweep.yaml --uplink [AnalogUplink]", "uplink must be one component"),
    ("sweep sweep.yaml --uplink.energy_budget 3", "energy_budget is set by the sweep"),
    ("sweep sweep.yaml --task null", "task must be"),
    ("sweep sweep.yaml --published 3", "published must be a mapping"),
    ("sweep sweep.yaml --published {file: 3}", "published"),
    ("sweep sweep.yaml --figure 3", "figure must be a mapping"),
    ("sweep sweep.yaml --figure {kind: pie}", "figure.kind"),
    ("sweep sweep.yaml --figure {kind: argument, argument: x}", "figure.argument"),
    ("sweep sweep.yaml --figure {kind: difference, panels: {a: 3}}", "figure.panels.a"),
    (f"{SCHEMES} [laser,laser]", "schemes[1] must be a word that stands once"),
    (f"{SCHEMES} [laser,null]", "schemes[1]"),
    (f"{SCHEMES} []", "schemes must hold at least one entry"),
    (f"{SCHEMES} null", "schemes must be a list of words or a mapping"),
    (f"{SCHEMES} {{'': laser}}", "schemes must have names of"),
    (f"{SCHEMES} {{' ': laser}}", "schemes must have names of"),
    (f'{SCHEMES} {{"a\\nb": laser}}', "schemes must have names of"),
    (f'{SCHEMES} {{"a\\0b": laser}}', "schemes must have names of"),
    (f"{SCHEMES} {{{'a' * 101}: laser}}", "schemes must have names of"),
    (f"{SCHEMES} {{a: laser, a: z-sgd}}", "--schemes"),
    (f"{SCHEMES} {{noiseless: laser}}", "noiseless"),
    (f"{SCHEMES} {{a: null}}", "schemes.a must be one compressor"),
    (f"{SCHEMES} {{a: [laser]}}", "schemes.a must be one compressor"),
    (f"{SCHEMES} {{a: Rayleigh}}", "schemes.a must be Compressor, got Rayleigh()"),
    (f"{SCHEMES} {{a: {{compressor: null}}}}", "schemes.a.compressor"),
    (f"{SCHEMES} {{a: {{compressor: laser, uplink: 3}}}}", "schemes.a.uplink"),
    (f"{SCHEMES} {{a: {{compressor: laser, uplink: {{fading: 3}}}}}}", "schemes.a.uplink.fading"),
    (f"{SCHEMES} {{a: {{class_path: LowRank, init_args: {{rank: 0}}}}}}", "schemes.a"),
    ("sweep sweep.yaml --study power", "--study"),
    ("sweep spectrum.yaml --seeds [0,-1]", "seeds[1]"),
    ("sweep spectrum.yaml --layers [nothing]", "layers"),
    ("sweep spectrum.yaml --layers [1]", "layers[0] must be text"),
    ("sweep spectrum.yaml --top 0", "top must be >= 1"),
    ("channel --snr_db [0,.nan]", "snr_db[1] must be a number, got nan"),
    ("channel --snr_db [0,.inf]", "snr_db[1] must be finite and within 300 dB"),
    ("channel --snr_db [5000]", "snr_db[0] must be finite and within 300 dB"),
    ("channel --snr_db []", "snr_db must hold at least one"),
    ("channel --fade_db -.inf", "fade_db must be finite"),
    ("channel --seed -1", "seed must be >= 0"),
    ("channel --fading [Rayleigh", "--fading"),
    ("channel --fading [Rayleigh,]x", "--fading"),
    ("channel --fading *a", "--fading"),
    ("channel --fading &a[*a]", "--fading"),
    ("channel --fading !!python/object:os.system", "--fading"),
    ("channel --fading []", "fading must hold at least one entry"),
    ("channel --fading [Rayleigh,null]", "fading[1] must be Fading or FadingProcess, got null"),
    ("channel --fading [Rayleigh,3]", "fading[1]"),
    ("channel --fading math.pi", "fading"),
    ("channel --fading os.path", "fading"),
    ("channel --fading Rayleigh --fading.k 3", "fading"),
    ("channel --view picture", "view must be one of"),
    ("channel --num_rx_antennas [1,0]", "num_rx_antennas"),
    ("channel --num_rx_antennas [1,1.5]", "num_rx_antennas[1]"),
    ("theory communication --model resnet", "did you mean resnet18"),
    ("theory influence --snr_db [0,1000]", "snr_db[1]"),
    ("theory rates --num_rounds [10,0]", "num_rounds[1]"),
    ("theory rates --influence [1,.inf]", "influence[1]"),
    ("theory rates --output=", "--output"),
    ("theory noise --norms .", "norms"),
    ("theory noise --device cpu", "--device is not an option here"),
]

DOCUMENTS = [  # content of a file for --config, and what the answer must hold
    (b"", "got nothing"),
    (b"# nothing but a remark\n", "got nothing"),
    (b"---\n...\n", "got nothing"),
    (b"- 1\n", "must hold a mapping"),
    (b"seed\n", "must hold a mapping"),
    (b"seed: 1\nseed: 2\n", "line 2, column 1: the key 'seed' must not stand twice"),
    (b"uplink: {class_path: AnalogUplink, init_args: {noise_variance: 1, noise_variance: 2}}\n", "'noise_variance'"),
    (b"seed: 1\n---\nseed: 2\n", "line 2, column 1: a second document"),
    (b"seed: 1\n\tnum_rounds: 2\n", "line 2"),
    (b"seed: [1\n", "line 2"),
    (b"seed: 1\n}\n", "line 2"),
    (b"seed: \xff\xfe\n", "is not text in UTF-8 (byte 7)"),
    ("seed: 1\n".encode("utf-16"), "is not text in UTF-8"),
    (b"seed: 1\0\n", "character 8 is 0x00"),
    (b"seed: \x07\n", "character 7 is 0x07"),
    (b"a: &a [*a]\n", "line 1, column 4: an alias stands inside what it names"),
    (b"a: &a {b: *a}\n", "an alias stands inside what it names"),
    (b"a: *nothing\n", "line 1"),
    (b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"".join(
        b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 10)) for c in range(ord("a"), ord("h"))
    ), "aliases stand for more than"),
    (b"a: " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
    (b"a: " + b"{a: " * 5000, "nested too deeply"),
    (b"seed: !!python/object/apply:os.system ['true']\n", "tag !!python/object/apply:os.system"),
    (b"seed: !mine 3\n", "tag !mine"),
    (b"seed: !!int three\n", "tag !!int"),
    (b"seed: 1e999\n", "beyond the largest float"),
    (b"seed: " + b"9" * 5000 + b"\n", "an integer of 5000 digits"),
    (b"? [seed]\n: 1\n", "a key must be text"),
    (b"<<: 3\n", "<< must name a mapping"),
    (b"seed: yes\n", "seed must be an integer, got 'yes'"),
    (b"seed: '3'\n", "seed must be an integer, got '3'"),
    (b"sede: 3\n", "did you mean seed"),
    (b"output: 010\n", "--output must be text (in YAML, in quotes), got 10"),
    (b"device: true\n", "--device"),
    (b"task: {class_path: digits, init_args: abc}\n", "init_args must be a mapping"),
    (b"task: {class_path: digits, init_args: [1]}\n", "init_args must be a mapping"),
    (b"task: {class_path: digits, args: {}}\n", "task must be a name, or"),
    (b"task: {class_path: null}\n", "task must be a name, or"),
    (b"task: {}\n", "task must be a name, or"),
    (b"task: null\n", "task must be"),
    (b"uplink: Rayleigh\n", "uplink: Rayleigh does not belong here"),
    (b"1: 2\n", "no argument '1'"),
    (b"null: 2\n", "no argument 'null'"),
]  # fmt: skip


def test_lines_that_a_stranger_may_type(capsys, tmp_path):
    rows = []
    for line, name in LINES:
        words = line.split(maxsplit=3) if " {" in line or '"' in line else line.split()
        budget = words[0] == "run" and "--uplink.energy_budget" not in words
        rows.append(bad_inputs.BadInput([*words[:1], *(["--uplink.energy_budget=1"] if budget else []), *words[1:]], name))
    assert faults(rows, capsys, tmp_path) == []


@pytest.mark.parametrize("command", ["run --uplink.energy_budget 1 --config", "sweep"])
def test_files_with_faults(command, capsys, tmp_path):
    found = []
    for content, name in DOCUMENTS:
        (tmp_path / "some.yaml").write_bytes(content)
        wanted = name if command != "sweep" or "line" in name or "some.yaml" in name else ""
        found += faults([bad_inputs.BadInput([*command.split(), "some.yaml"], wanted)], capsys, tmp_path)
    assert found == []
