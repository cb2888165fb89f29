//! The program as its users meet it. Nothing here looks at times.

mod common;

use common::idx;
use kernels::{Backend, Profile};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn harness(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(args).env_remove("KERNELS_ISA");
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The program must fail with this code, and say all of this.
#[track_caller]
fn fails(command: &mut Command, code: i32, says: &[&str]) {
    let output = run(command);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for part in says {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert!(!message.contains("panicked"), "{message}");
}

/// A directory with a tiny data set: images of a bright row each, the label says which row.
struct Tiny(TempDir);

const CLASSES: usize = 4;

impl Tiny {
    fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        for (name, count) in [("train", 40), ("t10k", 12)] {
            let labels: Vec<u8> = (0..count).map(|i| (i % CLASSES) as u8).collect();
            let image = |&label: &u8| (0..CLASSES * 5).map(move |p| if p / 5 == usize::from(label) { 200 } else { 0 });
            let images: Vec<u8> = labels.iter().flat_map(image).collect();
            idx(&dir.path().join(format!("{name}-images-idx3-ubyte")), &[count, CLASSES, 5], &images);
            idx(&dir.path().join(format!("{name}-labels-idx1-ubyte")), &[count], &labels);
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn train(&self, more: &[&str]) -> Command {
        self.train_for("2", more)
    }

    fn train_for(&self, epochs: &str, more: &[&str]) -> Command {
        let mut command = harness(&["train", "--hidden", "6", "--epochs", epochs, "--batch", "16", "--lr", "0.01"]);
        command.arg("--data").arg(self.path()).arg("--out").arg(self.file("out")).args(more);
        command
    }

    /// The record of a training run.
    #[track_caller]
    fn record(&self, command: &mut Command) -> Value {
        let file = self.file("record.json");
        let output = run(command.arg("--json").arg(&file));
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(&fs::read_to_string(file).expect("the record was written")).expect("the record is JSON")
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    let output = run(&mut harness(&["--help"]));
    assert!(output.status.success());
    for part in ["Examples:", "Exit codes:", "compare", "train", "info", "--quick"] {
        assert!(stdout(&output).contains(part), "{part}");
    }
}

#[test]
fn help_is_as_wide_as_in_a_file_where_a_terminal_has_no_columns() {
    let help = |columns: &str| stdout(&run(harness(&["--help"]).env("COLUMNS", columns)));
    assert_eq!(help("0"), help("100"));
    assert_ne!(help("0"), help("60"));
}

#[test]
fn completions_are_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&mut harness(&["completions", shell])));
        assert!(script.contains("predict") && script.contains("sweep"), "{shell}");
    }
    fails(&mut harness(&["completions", "cmd"]), 2, &["cmd", "bash"]);
}

#[test]
fn colours_are_for_terminals() {
    let output = run(&mut harness(&["act", "relu", "100", "--time", "0"]));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stdout(&output).contains('\u{1b}'));
}

#[test]
fn functions_are_verified_and_measured() {
    for args in [&["gelu", "1000"][..], &["softmax", "10", "30"], &["tanh", "64", "--cold"]] {
        let output = run(harness(&["act", "--time", "0"]).args(args));
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        for part in ["naive loop", Backend::active().unwrap().name(), "ULP", "GB/s", "noise floor"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
    fails(&mut harness(&["act", "sine", "10"]), 2, &["sine", "gelu-tanh", "softmax"]);
    fails(&mut harness(&["act", "exp", "0"]), 2, &["0"]);
    fails(&mut harness(&["act", "exp", "67108864", "2"]), 2, &["too large"]);
}

#[test]
fn a_step_is_taken_apart() {
    let output = run(&mut harness(&["step", "20,7,3", "--batch", "5", "--time", "0"]));
    assert!(output.status.success(), "{}", stderr(&output));
    for part in ["layer 5x20x7", "weight gradient 20x5x7", "input gradient 5x3x7", "Adam", "the step", "route"] {
        assert!(stdout(&output).contains(part), "{part:?} is not in {}", stdout(&output));
    }
    let output = run(&mut harness(&["step", "20,7,3", "--time", "0", "--precision", "bf16,f32,bf16x3,bf16"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let row = |precision: &str| format!("{precision}: ");
    for part in [row("bf16"), row("bf16x3"), "times as fast as in f32".to_owned(), "operands are rounded".to_owned()] {
        assert!(text.contains(&part), "{part:?} is not in {text}");
    }
    assert_eq!(text.matches("the step").count(), 3, "f32 and the two others, each once: {text}");
    fails(&mut harness(&["step", "784,10", "--precision", "f16"]), 2, &["f32-amx", "bf16x3"]);
    fails(&mut harness(&["step", "784"]), 2, &["784,10"]);
    fails(&mut harness(&["step", "784,0"]), 2, &["0"]);
}

#[test]
fn no_record_replaces_the_profile_in_use() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("this.profile");
    // Only the command that makes it does.
    for _ in 0..2 {
        let output = run(harness(&["tune", "--time", "0"]).env("KERNELS_PROFILE", &file));
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let held = fs::read(&file).unwrap();
    for args in [&["info"][..], &["act", "relu", "9"], &["tune", "--explain"], &["tune", "--explain", "--out", "other"]]
    {
        let mut command = harness(args);
        fails(command.env("KERNELS_PROFILE", &file).arg("--json").arg(&file), 2, &["this.profile is named twice"]);
    }
    assert!(fs::read(&file).unwrap() == held);
}

#[test]
fn a_profile_is_written_verified_explained_and_checked() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("below/this.profile");
    // Without time the search ends where it begins, and nothing is left to measure.
    let tune = |more: &[&str]| {
        let mut command = harness(&[&["tune", "--time", "0", "--out"], more].concat());
        command.env_remove("KERNELS_PROFILE");
        command
    };
    let at = file.to_str().unwrap();
    for element in ["f32", "f64"] {
        let output = run(&mut tune(&[at, "--type", element]));
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains(&format!("export KERNELS_PROFILE={at}")), "{}", stdout(&output));
    }
    let profile = Profile::load(&file).unwrap();
    let row = Backend::active().unwrap();
    assert_eq!(profile.get(row.name(), "f32"), Some(row.tuning::<f32>()));
    assert_eq!(profile.get(row.name(), "f64"), Some(row.tuning::<f64>()));
    let verified = run(&mut tune(&[at, "--verify"]));
    assert!(verified.status.success() && stdout(&verified).contains("No difference"), "{}", stderr(&verified));
    let explained = stdout(&run(&mut tune(&[at, "--explain"])));
    for part in ["pack_rows", "model", "tuned", "half of the second cache"] {
        assert!(explained.contains(part), "{explained}");
    }
    fails(&mut tune(&[at, "--verify", "--explain"]), 2, &["--verify", "--explain"]);
    fails(&mut tune(&["no/such.profile", "--verify"]), 1, &["no/such.profile"]);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("kc=", "kd=", 1)).unwrap();
    fails(&mut tune(&[at]), 1, &["this.profile", "kc=N"]);
    assert_ne!(fs::read_to_string(&file).unwrap(), text, "a damaged profile is not overwritten");
}

#[test]
fn images_are_predicted_from_the_test_set_and_from_files() {
    let tiny = Tiny::new();
    assert!(run(&mut tiny.train_for("60", &[])).status.success());
    let model = tiny.file("out/model.safetensors");
    let predict = |args: &[&str]| {
        let mut command = harness(&["predict", "--data"]);
        command.arg(tiny.path()).arg("--model").arg(&model).args(args);
        command
    };
    let text = stdout(&run(&mut predict(&["--index", "0,1,2,3"])));
    assert!(text.contains("4 of 4 images right") && text.contains("test image 3") && text.contains('█'), "{text}");
    fails(&mut predict(&[]), 2, &["IMAGE", "--index"]);
    fails(&mut predict(&["--index", "12"]), 1, &["12", "0 to 11"]);
    let file = tiny.file("digit.pgm");
    fs::write(&file, "P2 2 2 255 0 9").unwrap();
    // The model's images are no squares.
    fails(predict(&[]).arg(&file), 1, &["digit.pgm", "20 numbers"]);
    fails(&mut harness(&["predict", "x.png", "--model", "no/model"]), 1, &["no/model", "harness train"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_leaves_no_file_behind() {
    let tiny = Tiny::new();
    let mut child = tiny.train_for("100000000", &[]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // Its first line says that it is at work.
    let mut said = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut said, &mut [0]).unwrap();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let left: Vec<_> = fs::read_dir(tiny.file("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn wrong_usage_exits_with_2() {
    fails(&mut harness(&["--fast"]), 2, &["--fast", "Usage"]);
    fails(&mut harness(&["fly"]), 2, &["fly"]);
    fails(&mut harness(&["train", "--hidden", "0"]), 2, &["--hidden", "0"]);
    fails(&mut harness(&["train", "--lr", "-1"]), 2, &["-1", "above 0"]);
    fails(&mut harness(&["train", "--lr", "nan"]), 2, &["--lr", "above 0"]);
    fails(&mut harness(&["train", "--batch", "many"]), 2, &["--batch", "many"]);
    fails(&mut harness(&["train", "--engine", "naive", "--threads", "2"]), 2, &["one thread"]);
}

#[test]
fn info_tells_what_there_is() {
    let tiny = Tiny::new();
    let output = run(harness(&["info", "--data"]).arg(tiny.path()));
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for backend in Backend::supported() {
        assert!(text.contains(backend.name()), "{} is not in {text}", backend.name());
    }
    assert_eq!(text.matches("chosen").count(), 1, "{text}");
    assert!(text.contains("40 + 12 images of 4x5"), "{text}");
    // A profile that is not used is not named as if it were.
    fs::write(tiny.file("profile"), "no profile").unwrap();
    let output = run(harness(&["info", "--data"]).arg(tiny.path()).env("KERNELS_PROFILE", tiny.file("profile")));
    assert!(stdout(&output).contains("KERNELS_PROFILE is ignored"), "{}", stdout(&output));
}

#[test]
#[cfg(unix)]
fn standard_output_takes_the_record_under_either_name() {
    let tiny = Tiny::new();
    for name in ["-", "/dev/stdout"] {
        let output = run(harness(&["info", "--json", name, "--data"]).arg(tiny.path()));
        let record: Value = serde_json::from_str(&stdout(&output)).expect("nothing but the record");
        assert_eq!(record["schema"], "harness/info/1");
    }
}

#[test]
fn test_sets_that_do_not_fit_are_found_before_training() {
    for (dims, labels, says) in [
        (&[0, CLASSES, 5], &[][..], &["t10k-images-idx3-ubyte", "no samples"][..]),
        (&[1, 3, 5], &[0], &["t10k-images-idx3-ubyte", "3x5", "20 inputs"]),
    ] {
        let tiny = Tiny::new();
        idx(&tiny.file("t10k-images-idx3-ubyte"), dims, &vec![0; dims.iter().product()]);
        idx(&tiny.file("t10k-labels-idx1-ubyte"), &[labels.len()], labels);
        fails(&mut tiny.train(&[]), 1, says);
        assert!(stdout(&run(&mut tiny.train(&[]))).is_empty(), "it has begun");
    }
}

#[test]
fn classes_without_images_are_told_of() {
    let tiny = Tiny::new();
    let mut labels: Vec<u8> = (0..40).map(|i| (i % CLASSES) as u8).collect();
    labels[7] = 250;
    idx(&tiny.file("train-labels-idx1-ubyte"), &[40], &labels);
    let text = stdout(&run(&mut tiny.train(&[])));
    assert!(text.contains("246 of the 251 classes"), "{text}");
}

#[test]
fn a_report_of_accuracy_replaces_no_other_file() {
    let tiny = Tiny::new();
    let certify = |more: &[&str], out: &str| {
        let mut command = harness(&["certify", "--function", "relu", "--sample", "100000007", "--isa", "plain"]);
        command.args(more).arg("--out").arg(tiny.file(out));
        command
    };
    fs::write(tiny.file("letter"), "Dear reader").unwrap();
    fails(&mut certify(&[], "letter"), 1, &["letter", "no report"]);
    assert_eq!(fs::read_to_string(tiny.file("letter")).unwrap(), "Dear reader");
    for _ in 0..2 {
        assert!(run(&mut certify(&[], "report")).status.success());
    }
    let report = fs::read_to_string(tiny.file("report")).unwrap();
    assert_eq!(report.matches("| relu | plain | ").count(), 1, "{report}");
    fs::write(tiny.file("lines"), "no digests").unwrap();
    fails(harness(&["fingerprint", "--check"]).arg(tiny.file("lines")), 1, &["line 1"]);
}

#[test]
fn a_pin_that_cannot_be_met_is_an_error_everywhere() {
    let tiny = Tiny::new();
    for command in ["info", "train", "compare"] {
        let mut command = harness(&[command, "--data"]);
        fails(command.arg(tiny.path()).env("KERNELS_ISA", "mmx"), 1, &["mmx", "KERNELS_ISA", "portable"]);
    }
}

#[test]
fn missing_and_damaged_data_are_named() {
    for command in ["info", "train", "compare"] {
        fails(&mut harness(&[command, "--data", "no/such/place"]), 1, &["no/such/place"]);
    }
    let tiny = Tiny::new();
    let labels = tiny.file("t10k-labels-idx1-ubyte");
    fs::write(&labels, &fs::read(&labels).unwrap()[..15]).unwrap();
    fails(&mut tiny.train(&[]), 1, &["t10k-labels-idx1-ubyte", "15"]);
    fs::remove_file(&labels).unwrap();
    fails(&mut tiny.train(&[]), 1, &["t10k-labels-idx1-ubyte"]);
}

#[test]
fn places_that_cannot_be_written_are_found_before_training() {
    let tiny = Tiny::new();
    let file = tiny.file("train-labels-idx1-ubyte/below.json");
    let output = run(tiny.train(&["--json"]).arg(&file));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot write"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_model_beyond_all_memory_is_refused() {
    let tiny = Tiny::new();
    fails(&mut tiny.train(&["--hidden", "65536,65536"]), 1, &["GiB"]);
}

#[test]
fn training_prints_epochs_and_writes_record_and_picture() {
    let tiny = Tiny::new();
    let record = tiny.record(&mut tiny.train(&["--seed", "7"]));
    assert_eq!(record["train_samples"], 40);
    assert_eq!(record["test_samples"], 12);
    assert_eq!(record["seed"], 7);
    assert_eq!(record["threads"], 1);
    assert_eq!(record["layers"], serde_json::json!([20, 6, CLASSES]));
    assert_eq!(record["epoch_seconds"].as_array().map(Vec::len), Some(2));
    assert_eq!(record["isa"], Backend::active().unwrap().name());
    assert_eq!(record["weights_sha256"].as_str().map(str::len), Some(64));
    for number in ["test_accuracy", "test_loss", "total_seconds", "samples_per_second"] {
        assert!(record[number].is_f64(), "{number}: {}", record[number]);
    }

    let picture = fs::read_to_string(tiny.file("out/predictions.svg")).expect("the picture was written");
    assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
    assert_eq!(picture.matches("<g transform=\"translate").count(), 12);

    let output = run(&mut tiny.train(&[]));
    let text = stdout(&output);
    for part in ["Epoch 1/2\n3/3 ━━━━━━━━━━━━━━━━━━━━ ", "Epoch 2/2\n", " - accuracy: ", " - loss: ", "Test: "]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(stderr(&output), "", "progress belongs on terminals");

    let mut left: Vec<_> = fs::read_dir(tiny.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| name.to_string_lossy().contains("tmp"));
    assert_eq!(left, [""; 0], "temporary files were left");
}

#[test]
fn weights_do_not_depend_on_threads_or_instruction_set() {
    let tiny = Tiny::new();
    let mut digests = Vec::new();
    for backend in Backend::supported() {
        let digest = |more: &[&str]| {
            let record = tiny.record(tiny.train(more).env("KERNELS_ISA", backend.name()));
            assert_eq!(record["isa"], backend.name());
            record["weights_sha256"].to_string()
        };
        let one = digest(&["--threads", "1"]);
        assert_eq!(digest(&["--threads", "2"]), one, "{}", backend.name());
        assert_ne!(digest(&["--seed", "1"]), one);
        if backend.bits_match() {
            digests.push(one);
        }
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");
}

#[test]
fn naive_loops_train_too() {
    let tiny = Tiny::new();
    for engine in ["naive", "naive-ijk"] {
        let record = tiny.record(&mut tiny.train(&["--engine", engine]));
        assert_eq!(record["engine"], engine);
        assert_eq!(record["isa"], Value::Null);
    }
}

/// `harness gemm`, as short as can be.
fn gemm(args: &[&str]) -> Command {
    harness(&[&["gemm", "--time", "0.001"], args].concat())
}

#[test]
fn products_are_explained_verified_and_recorded() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("gemm.json");
    for (element, width) in [("f32", 4), ("f64", 8)] {
        let args = ["9", "17", "5", "1", "3", "2", "--transpose-a", "--threads", "2", "--type", element, "--json"];
        let output = run(gemm(&args).arg(&file));
        assert!(output.status.success(), "{}", stderr(&output));
        let row = Backend::active().unwrap().name();
        let text = stdout(&output);
        for part in ["9x17x5A'", "route", row, &format!("{row} x2"), "GFLOP/s", "peak", "error", "geometric mean"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let record: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(record["element"], element);
        assert_eq!(record["cases"].as_array().map(Vec::len), Some(2));
        let case = &record["cases"][0];
        assert_eq!((&case["m"], &case["k"], &case["n"]), (&9.into(), &17.into(), &5.into()));
        assert_eq!((&case["a_transposed"], &case["b_transposed"]), (&true.into(), &false.into()));
        let [alone, team] = &case["results"].as_array().unwrap()[..] else { panic!("{case}") };
        assert_eq!((&alone["name"], &team["name"]), (&row.into(), &format!("{row} x2").into()));
        for number in ["speed", "peak", "error", "max_abs_error", "rms_error"] {
            assert!(alone[number].is_f64(), "{number}: {}", alone[number]);
        }
        let ratio = &team["over"][row];
        let [low, median, high] = ["low", "median", "high"].map(|name| ratio[name].as_f64().unwrap_or(f64::NAN));
        assert!(low <= median && median <= high, "{ratio}");
        let max = alone["max_abs_error"].as_f64().unwrap();
        assert!(if width == 4 { max < 1e-5 } else { max < 1e-14 }, "{max}");
    }
}

#[test]
fn every_row_can_be_swept() {
    let rows: Vec<&str> = Backend::supported().map(Backend::name).collect();
    let output = run(&mut gemm(&["--sweep", "1..33:16", "--rows", &rows.join(","), "--transpose-b"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.matches("17x17x17B'").count(), rows.len(), "{text}");
    assert_eq!(text.matches("15% below").count(), rows.len(), "{text}");
}

#[test]
fn random_products_take_a_line_each() {
    let output = run(&mut gemm(&["--random", "6:40", "--rows", "portable", "--type", "f64"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let summary = &text[text.find("\nportable").expect("a table")..];
    assert_eq!(summary.trim().lines().count(), 1 + 6 + 1, "{text}");
    assert!(summary.contains("geometric mean") && !text.contains("route"), "{text}");
}

#[test]
fn wrong_products_are_refused() {
    fails(&mut gemm(&[]), 2, &["--table", "--sweep", "--random"]);
    fails(&mut gemm(&["--random", "0"]), 2, &["COUNT[:MAX]"]);
    fails(&mut gemm(&["--random", "9", "--table"]), 2, &["--table"]);
    fails(&mut gemm(&["1", "2"]), 2, &["three sizes"]);
    fails(&mut gemm(&["1", "0", "2"]), 2, &["0"]);
    fails(&mut gemm(&["1", "1", "1", "--table"]), 2, &["--table"]);
    fails(&mut gemm(&["16777216", "1", "16777216"]), 2, &["too large"]);
    fails(&mut gemm(&["--sweep", "9..8"]), 2, &["9..8", "FROM..TO"]);
    fails(&mut gemm(&["1", "1", "1", "--time=-1"]), 2, &["--time"]);
    fails(&mut gemm(&["1", "1", "1", "--rows", "portable,portable"]), 2, &["two contenders are called portable"]);
    fails(&mut gemm(&["1", "1", "1", "--precision", "bf16,bf16"]), 2, &["two contenders are called", "bf16:"]);
    fails(&mut gemm(&["1", "1", "1", "--rows", "mmx"]), 2, &["mmx", "portable"]);
    fails(gemm(&["1", "1", "1"]).env("KERNELS_ISA", "mmx"), 1, &["mmx", "KERNELS_ISA"]);
}

#[test]
fn libraries_that_cannot_be_loaded_are_named() {
    fails(&mut gemm(&["1", "1", "1", "--blas", "no/such/libblas.so:x_"]), 1, &["no/such/libblas.so"]);
    let tiny = Tiny::new();
    let file = tiny.file("train-labels-idx1-ubyte");
    fails(gemm(&["1", "1", "1", "--blas"]).arg(&file), 1, &["cannot load", "train-labels-idx1-ubyte"]);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_library_that_is_no_blas_is_named() {
    fails(&mut gemm(&["1", "1", "1", "--blas", "libc.so.6:x_"]), 1, &["libc.so.6", "x_cblas_sgemm", "PREFIX"]);
}

#[test]
fn peers_take_part_where_they_are_compiled_in() {
    let mut command = gemm(&["33", "17", "5", "--peers"]);
    if !cfg!(feature = "peers") {
        return fails(&mut command, 2, &["--peers", "--features peers"]);
    }
    for args in [vec![], vec!["--transpose-a", "--transpose-b"], vec!["--type", "f64", "--threads", "2"]] {
        let output = run(gemm(&["33", "17", "5", "--peers"]).args(args));
        assert!(output.status.success(), "{}", stderr(&output));
        for peer in ["faer", "gemm", "gemmkit", "matrixmultiply"] {
            assert!(stdout(&output).contains(&format!("x {peer}")), "{}", stdout(&output));
        }
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error_message() {
    let tiny = Tiny::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = run(tiny.train(&[]).stdout(writer));
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(141));
}
