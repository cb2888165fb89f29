//! The commands for trained models, as their users meet them. Nothing here looks at times.

mod common;

use common::idx;
use nn::{Activation, Dense, Initialiser, Kernels, Mlp, Mnist, Norm, Recipe, Trainer};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with a tiny data set, images of a bright row each, and a model that knows them.
struct Tiny(TempDir);

const CLASSES: usize = 4;

impl Tiny {
    fn new() -> Self {
        let tiny = Self(TempDir::new().unwrap());
        for (name, count) in [("train", 600), ("t10k", 600)] {
            let labels: Vec<u8> = (0..count).map(|i| (i % CLASSES) as u8).collect();
            let image = |(i, &label): (usize, &u8)| {
                (0..CLASSES * 5)
                    .map(move |p| if p / 5 == usize::from(label) { 200 } else { (i * 7 + p * 3) as u8 % 20 })
            };
            let images: Vec<u8> = labels.iter().enumerate().flat_map(image).collect();
            idx(&tiny.file(&format!("{name}-images-idx3-ubyte")), &[count, CLASSES, 5], &images);
            idx(&tiny.file(&format!("{name}-labels-idx1-ubyte")), &[count], &labels);
        }
        let (data, engine) = (Mnist::load(tiny.0.path()).unwrap(), Kernels::active().unwrap());
        let model = Mlp::new(&[CLASSES * 5, 8, CLASSES], 0).unwrap().with_labels(["a", "b", "c", "d"]).unwrap();
        let mut trainer = Trainer::new(model, Recipe { epochs: 30, ..Recipe::default() }, &engine).unwrap();
        trainer.fit(&data.train, &mut ()).unwrap();
        trainer.into_model().save(tiny.file("model")).unwrap();
        tiny
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command; words that begin with `@` are files here.
    fn run(&self, words: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        for word in words.split(' ') {
            match word.strip_prefix('@') {
                Some("") => command.arg(self.0.path()),
                Some(name) => command.arg(self.file(name)),
                None => command.arg(word),
            };
        }
        command.env_remove("KERNELS_ISA").output().unwrap()
    }

    #[track_caller]
    fn good(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, words: &str, code: i32, says: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        for part in says {
            assert!(said.contains(part), "{words}: {part:?} is not in {said:?}");
        }
        assert!(!said.contains("panicked"), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn a_model_goes_out_and_comes_back() {
    let tiny = Tiny::new();
    let whole = tiny.good("evaluate @model --data @ --confusion --probabilities @p");
    assert!(whole.contains("accuracy") && whole.contains("1.0000") && whole.contains("is, taken for"), "{whole}");
    let probabilities = fs::read(tiny.file("p")).unwrap();
    assert_eq!(probabilities.len(), 600 * CLASSES * 4);
    for (file, format) in [("m.onnx", ""), ("m.npz", ""), ("m.safetensors", ""), ("w", " --format pytorch")] {
        tiny.good(&format!("export @model @{file}{format}"));
        // What a file says of itself counts, not what it is taken for.
        let format = if file == "w" { " --format safetensors" } else { format };
        tiny.good(&format!("import @{file} @again{format}"));
        tiny.good("evaluate @again --data @ --probabilities @p2");
        assert!(fs::read(tiny.file("p2")).unwrap() == probabilities, "{file}");
    }
    tiny.good("export @model @pixels.onnx --pixels --raw");
    tiny.good("export @model @folder/model.rs");
    assert!(fs::read_to_string(tiny.file("folder/model.rs")).unwrap().contains("pub fn predict"));
    tiny.good("import @m.npz @again --labels u,v,w,x");
    assert_eq!(Mlp::load(tiny.file("again")).unwrap().labels(), ["u", "v", "w", "x"]);
    tiny.fails("import @m.npz @again --labels u,v", 1, &["number of names is 2"]);
    tiny.fails("import @model @again --format onnx", 1, &["model: ", "message"]);
    tiny.fails("import @nothing.onnx @again", 1, &["nothing.onnx", "cannot read"]);
    tiny.fails("import @m.rs @again", 2, &["written, not read"]);
    tiny.fails("import @m.rs @again --format rust", 2, &["onnx, npz, safetensors, pytorch]"]);
    tiny.fails("export @model @m.txt", 2, &["--format"]);
    tiny.fails("export @model @m.npz --pixels", 2, &["--pixels"]);
    tiny.fails("export @model", 2, &["FILE"]);
    tiny.fails("export @p @m.npz", 1, &["header"]);
}

#[test]
fn no_output_replaces_what_is_needed() {
    let tiny = Tiny::new();
    fs::create_dir(tiny.file("folder")).unwrap();
    fs::write(tiny.file("profile"), "of a CPU").unwrap();
    fs::write(tiny.file("lib.so"), "a library").unwrap();
    for (words, file) in [
        ("export @model @model --format npz", "model"),
        ("import @model @model --format safetensors", "model"),
        ("quantize @model @model --data @", "model"),
        ("quantize @model @t10k-images-idx3-ubyte --data @", "t10k-images-idx3-ubyte"),
        ("prune @model --data @ --out @model", "model"),
        ("prune @model --data @ --out @a --json @a", "a"),
        ("prune @model --data @ --out @a --curve @folder/../a", "a"),
        ("prune @model --data @ --curve @train-labels-idx1-ubyte", "train-labels-idx1-ubyte"),
        ("evaluate @model --data @ --json @model", "model"),
        ("evaluate @model --data @ --json @t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"),
        ("evaluate @model --data @ --probabilities @t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"),
        ("predict --model @model --data @ --index 0 --json @model", "model"),
        ("predict --model @model --data @ --index 0 --json @t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte"),
        ("monitor @model --data @ --json @model", "model"),
        ("monitor @model --data @ --learn @train-images-idx3-ubyte", "train-images-idx3-ubyte"),
        ("train --data @ --out @folder --json @train-labels-idx1-ubyte", "train-labels-idx1-ubyte"),
        ("info --data @ --json @folder/../train-images-idx3-ubyte", "train-images-idx3-ubyte"),
        ("tune --explain --out @profile --json @profile", "profile"),
        ("tune --verify --out @profile --json @profile", "profile"),
        ("tune --start @profile --out @a --json @profile", "profile"),
        ("tune --start @profile --out @profile --json @profile", "profile"),
        ("gemm 1 1 1 --blas @lib.so --json @lib.so", "lib.so"),
        ("compare --quick --data @ --blas @lib.so:x_ --json @lib.so", "lib.so"),
        ("compare --quick --data @ --json @t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"),
    ] {
        let held = fs::read(tiny.file(file)).ok();
        tiny.fails(words, 2, &[file, "is named twice"]);
        assert!(fs::read(tiny.file(file)).ok() == held, "{words}");
    }
    // With a reference it is the same model.
    tiny.good("monitor @model --data @ --learn @model");
}

/// The report's names are its own, but they can be links.
#[cfg(unix)]
#[test]
fn a_report_replaces_no_data() {
    let tiny = Tiny::new();
    let labels = tiny.file("train-labels-idx1-ubyte");
    fs::create_dir(tiny.file("out")).unwrap();
    std::os::unix::fs::symlink(&labels, tiny.file("out/report.csv")).unwrap();
    let held = fs::read(&labels).unwrap();
    tiny.fails("report --quick --data @ --out @out", 2, &["report.csv", "is named twice"]);
    assert!(fs::read(labels).unwrap() == held);
}

#[test]
fn test_sets_must_fit_the_model() {
    let tiny = Tiny::new();
    tiny.good("monitor @model --learn @watched --data @");
    // The training set is not looked at.
    fs::remove_file(tiny.file("train-images-idx3-ubyte")).unwrap();
    tiny.good("evaluate @model --data @");
    let commands =
        ["evaluate @model --data @", "monitor @watched --data @", "predict --model @model --data @ --index 0"];
    for (dims, labels, says) in [
        (&[0, CLASSES, 5], &[][..], "no samples"),
        (&[1, 3, 5], &[0], "3x5 pixels, but the model takes 20 inputs"),
        (&[1, CLASSES, 5], &[9], "label 9 of sample 0"),
    ] {
        idx(&tiny.file("t10k-images-idx3-ubyte"), dims, &vec![0; dims.iter().product()]);
        idx(&tiny.file("t10k-labels-idx1-ubyte"), &[labels.len()], labels);
        for words in commands {
            tiny.fails(words, 1, &["t10k-", says]);
        }
    }
}

#[test]
fn a_model_gets_smaller() {
    let tiny = Tiny::new();
    let table = tiny.good("quantize @model @small --data @ --sample 100 --percentile 0.001");
    assert!(table.contains("8 bits") && table.contains("points"), "{table}");
    let table = tiny.good("evaluate @small --data @");
    assert!(table.contains("1.0000") && table.lines().any(|line| line.starts_with("a ")), "{table}");
    tiny.fails("quantize @model @small --data @ --percentile 0.7", 2, &["--percentile", "0.5"]);
    tiny.fails("quantize @small @smaller --data @", 1, &["holds a model in 8 bits, not a saved model"]);

    let table =
        tiny.good("prune @model --data @ --sparsity 0.5,0.75 --scope layer --epochs 1 --out @pruned --curve @c.svg");
    assert!(table.contains("50.0 %") && table.contains("75.0 %"), "{table}");
    let svg = fs::read_to_string(tiny.file("c.svg")).unwrap();
    assert!(svg.ends_with("</svg>\n") && svg.matches("<polyline").count() == 2, "{svg}");
    let pruned = Mlp::load(tiny.file("pruned")).unwrap();
    assert_eq!(nn::prune::sparsity(&pruned), 0.75);
    // What a normalisation learns is no weight.
    let normed = Dense { norm: Norm::LAYER, ..Dense::new(CLASSES * 5, 8, Activation::Relu) };
    let layers = vec![normed, Dense::new(8, CLASSES, Activation::Identity)];
    Mlp::with_layers(layers, Initialiser::default(), 0).unwrap().save(tiny.file("normed")).unwrap();
    let json = tiny.good("prune @normed --data @ --sparsity 0.5 --epochs 0 --json -");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["weights"], &json["results"][1]["weights_left"]), (&192.into(), &96.into()));
    tiny.fails("prune @model --data @ --sparsity 1.5", 2, &["--sparsity", "from 0 to 1"]);
}

#[test]
fn a_model_is_watched() {
    let tiny = Tiny::new();
    tiny.fails("monitor @model --data @", 2, &["--learn"]);
    tiny.good("monitor @model --learn @watched --data @");
    let quiet = tiny.good("monitor @watched --data @");
    assert!(quiet.contains("feature shift") && !quiet.contains("alarm"), "{quiet}");
    let few = tiny.good("monitor @watched --data @ --samples 8 --change invert");
    assert!(few.contains("not judged") && few.contains("need 500 samples"), "{few}");
    tiny.fails("monitor @watched --data @ --samples 0", 2, &["--samples"]);
    let json: serde_json::Value = serde_json::from_str(&tiny.good("monitor @watched --data @ --json -")).unwrap();
    assert_eq!((&json["samples"], &json["predictions"][0]), (&600.into(), &150.into()));
    assert_eq!(json["judged"], true);
    let text = tiny.good("monitor @watched --data @ --format prometheus --samples 8");
    assert!(text.contains("nn_predictions_total{class=\"a\"} 2\n"), "{text}");
    for change in ["shift", "invert", "noise"] {
        let table = tiny.fails(&format!("monitor @watched --data @ --change {change}"), 1, &[" is ", ", above "]);
        assert!(table.contains("alarm"), "{table}");
    }
    tiny.fails("monitor @model --learn @w --change noise", 2, &["--change"]);
}

#[test]
fn of_equal_classes_the_first_is_predicted() {
    let tiny = Tiny::new();
    Mlp::new(&[CLASSES * 5, CLASSES], 0).unwrap().save(tiny.file("fresh")).unwrap();
    tiny.good("prune @fresh --data @ --sparsity 1 --epochs 0 --out @blank");
    let text = tiny.good("predict --model @blank --data @ --index 0,1,2,3 --json -");
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let predictions: Vec<_> = record["predictions"].as_array().unwrap().iter().map(|p| &p["prediction"]).collect();
    assert_eq!(predictions, [0; 4]);
    assert!(tiny.good("evaluate @blank --data @").contains("0.2500"));
}
