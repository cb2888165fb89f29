//! Models to the files of others and back, files that others wrote, and files that are damaged.

use nn::export::{self, Layout};
use nn::onnx::{self, Input, Output};
use nn::{Activation, Dataset, Dense, Initialiser, Mlp, Predictor, Result, Scaler, Scaling, Targets};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE: &str = "model";

fn file() -> &'static Path {
    Path::new(FILE)
}

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 1.7).sin() * 3.0).collect()
}

/// Every kind of layer, with a scaler and names and without, from a single layer up.
fn models() -> Vec<Mlp> {
    let unusual = [Activation::LeakyRelu { alpha: 0.1 }, Activation::Elu { alpha: 1.5 }];
    let f = [&Activation::ALL[..], &unusual].concat();
    let sizes = [9, 5, 31, 17, 2, 64, 3, 300, 8, 12, 7, 5, 6, 10, 4];
    let hidden = f.iter().zip(sizes.windows(2)).map(|(&f, pair)| Dense::new(pair[0], pair[1], f));
    let layers = hidden.chain([Dense::new(4, 3, Activation::Identity)]).collect();
    let deep = Mlp::with_layers(layers, Initialiser::HeNormal, 1).unwrap();
    let data = Dataset::from_numbers(wave(90), 9, Targets::Classes(vec![0; 10])).unwrap();
    let scalers = [Scaling::Standard, Scaling::Range(-1.0, 1.0)].map(|scaling| Scaler::fit(&data, scaling).unwrap());
    let [standard, range] = scalers.map(|scaler| deep.clone().with_scaler(scaler).unwrap());
    let names = ["setosa", "\"versi\"\\ncolor", "virginica ü"];
    let single = Mlp::with(&[7, 1], Activation::Relu, Initialiser::GlorotNormal, 4).unwrap();
    vec![
        Mlp::new(&[4, 16, 3], 3).unwrap().with_labels(names).unwrap(),
        standard.with_labels(names).unwrap(),
        range,
        deep,
        single,
        // Nothing of it tells inputs from outputs.
        Mlp::new(&[3, 3, 3], 5).unwrap(),
    ]
}

/// All that decides what a model predicts.
#[track_caller]
fn same(a: &Mlp, b: &Mlp) {
    assert_eq!(a.layers(), b.layers());
    assert_eq!((a.scaler(), a.labels()), (b.scaler(), b.labels()));
    let bits = |model: &Mlp| model.parameters().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(a), bits(b));
}

#[test]
fn weights_come_back_as_they_were() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("weights");
    for model in models() {
        for layout in [Layout::InputsOutputs, Layout::PyTorch] {
            export::save_safetensors(&file, &model, layout)?;
            // The file tells its layout, whatever is thought of it.
            for thought in [Layout::InputsOutputs, Layout::PyTorch] {
                same(&export::load_safetensors(&file, thought, Activation::Tanh)?, &model);
            }
        }
        export::save_npz(&file, &model)?;
        same(&export::load_npz(&file, Layout::InputsOutputs, Activation::Tanh)?, &model);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "files are written whole, nothing is left beside them");
    Ok(())
}

#[test]
fn onnx_comes_back_as_it_was() -> Result<()> {
    for model in models() {
        for input in [Input::Features, Input::Pixels] {
            let bytes = onnx::to_bytes(&model, input, Output::Raw, file())?;
            same(&onnx::from_bytes(&bytes, file())?, &model);
        }
        match onnx::to_bytes(&model, Input::Features, Output::Probabilities, file()) {
            Ok(bytes) => same(&onnx::from_bytes(&bytes, file())?, &model),
            Err(error) => assert!(model.outputs() == 1 && error.to_string().contains("outputs are one"), "{error}"),
        }
    }
    Ok(())
}

/// What `ci/onnx-fixtures.py` wrote, with the outputs of onnxruntime.
#[test]
fn files_of_other_programs() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    for (name, sizes, probabilities) in [
        ("skl-relu", &[4, 8, 3][..], true),
        ("skl-tanh", &[4, 6, 5, 3], true),
        ("skl-logistic", &[4, 7, 3], true),
        ("skl-regression", &[4, 8, 1], false),
        ("torch-layout", &[4, 8, 6, 3], true),
    ] {
        let model = onnx::load(folder.join(name).with_extension("onnx"))?;
        let outputs = model.layers().iter().map(|layer| layer.outputs);
        assert_eq!([model.inputs()].into_iter().chain(outputs).collect::<Vec<_>>(), sizes, "{name}");
        let json = fs::read(folder.join(name).with_extension("json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let numbers = |key: &str| -> Vec<f32> { serde_json::from_value(json[key].clone()).unwrap() };
        let (x, want) = (numbers("inputs"), numbers("outputs"));
        let (predictor, mut found) = (Predictor::new(&model)?, vec![0.0; want.len()]);
        if probabilities {
            predictor.probabilities(&x, &mut found)?;
        } else {
            predictor.run(&x, &mut found)?;
        }
        assert!(want.len() > 10);
        for (found, want) in found.iter().zip(&want) {
            assert!((found - want).abs() < 1e-5, "{name}: {found}, not {want}");
        }
    }
    Ok(())
}

/// Weights as PyTorch names and orders them, without a word about the rest.
#[test]
fn weights_of_other_programs() -> Result<()> {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let tensors = [
        ("net.2.weight", vec![2, 3], wave(6)),
        ("net.10.weight", vec![4, 2], wave(8)),
        ("net.2.bias", vec![2], wave(2)),
        ("net.0.weight", vec![3, 5], wave(15)),
    ];
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, x)| x.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let bytes = serialize(views, None).unwrap();
    let hidden = Activation::Gelu;
    let model = export::safetensors_from_bytes(&bytes, file(), Layout::PyTorch, hidden)?;
    let layer = |inputs, outputs, f| Dense::new(inputs, outputs, f);
    assert_eq!(model.layers(), [layer(5, 3, hidden), layer(3, 2, hidden), layer(2, 4, Activation::Identity)]);
    let parameters: Vec<&[f32]> = model.parameters().collect();
    // Element (input 1, output 0) is element (0, 1) of the matrix there.
    assert_eq!(parameters[0][3], wave(2)[1]);
    assert_eq!((parameters[1], parameters[3]), (&[0.0; 3][..], &wave(2)[..]));
    let error = export::safetensors_from_bytes(&bytes, file(), Layout::InputsOutputs, hidden).err().unwrap();
    assert_eq!(error.to_string(), "model: net.2.weight is 2 x 3, so takes 2 columns, but the layer before has 5");
    Ok(())
}

/// Sizes without numbers cost nothing, however large.
#[test]
fn weights_that_hold_nothing_are_refused() {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    for shape in [[0, 1 << 40], [1 << 40, 0]] {
        let bytes = serialize([("0.weight", TensorView::new(Dtype::F32, shape.into(), &[]).unwrap())], None).unwrap();
        for layout in [Layout::PyTorch, Layout::InputsOutputs] {
            let error = export::safetensors_from_bytes(&bytes, file(), layout, Activation::Relu).err().unwrap();
            let [a, b] = shape;
            assert_eq!(error.to_string(), format!("model: 0.weight is {a} x {b}, so holds nothing"));
        }
    }
}

/// The source is compiled, run, and its results compared on bits.
#[test]
fn rust_source_has_the_bits_of_the_kernels() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    for (m, model) in models().iter().enumerate() {
        let (inputs, outputs, count) = (model.inputs(), model.outputs(), 20);
        let source = export::rust_source(model, file())?;
        let x = wave(count * inputs);
        let many = outputs > 1;
        let main = format!(
            "mod model {{\n{source}\n}}\nfn main() {{\n    let bytes = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();\n    \
             let x: Vec<f32> = bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();\n    \
             assert_eq!(model::LABELS.len(), {});\n    \
             for x in x.chunks(model::INPUTS) {{\n        let x: &[f32; model::INPUTS] = x.try_into().unwrap();\n        \
             for y in model::{}(x) {{ println!(\"{{}}\", y.to_bits()); }}\n    {}}}\n}}\n",
            model.labels().len(),
            if many { "probabilities" } else { "predict" },
            if many { "    println!(\"{}\", model::classify(x));\n    " } else { "" },
        );
        let (code, program, data) =
            (dir.path().join("main.rs"), dir.path().join(format!("main{m}")), dir.path().join("x"));
        fs::write(&code, main).unwrap();
        fs::write(&data, x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let compiled = Command::new(rustc)
            .args(["--edition", "2024", "-D", "warnings", "-O", "-o"])
            .args([&program, &code])
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let ran = Command::new(&program).arg(&data).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let found: Vec<u32> =
            String::from_utf8(ran.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();

        let predictor = Predictor::new(model)?;
        let (mut y, mut classes) = (vec![0.0; count * outputs], vec![0; count]);
        let mut want: Vec<u32> = Vec::new();
        if many {
            predictor.probabilities(&x, &mut y)?;
            predictor.classes(&x, &mut classes)?;
            for (y, class) in y.chunks(outputs).zip(classes) {
                want.extend(y.iter().map(|y| y.to_bits()).chain([class]));
            }
        } else {
            predictor.run(&x, &mut y)?;
            want.extend(y.iter().map(|y| y.to_bits()));
        }
        if predictor_is_exact() {
            assert_eq!(found, want, "model {m}");
        }
    }
    Ok(())
}

fn predictor_is_exact() -> bool {
    kernels::Backend::active().unwrap().bits_match()
}

/// A good file of each kind, and what reads it.
type Read = fn(&[u8]) -> Result<Mlp>;
fn files() -> [(Vec<u8>, Read); 3] {
    let model = &models()[1];
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("weights");
    export::save_npz(&path, model).unwrap();
    let npz = fs::read(&path).unwrap();
    export::save_safetensors(&path, model, Layout::PyTorch).unwrap();
    let safetensors = fs::read(&path).unwrap();
    let onnx = onnx::to_bytes(model, Input::Pixels, Output::Probabilities, file()).unwrap();
    [
        (onnx, |bytes| onnx::from_bytes(bytes, file())),
        (npz, |bytes| export::npz_from_bytes(bytes, file(), Layout::InputsOutputs, Activation::Relu)),
        (safetensors, |bytes| export::safetensors_from_bytes(bytes, file(), Layout::PyTorch, Activation::Relu)),
    ]
}

#[test]
fn truncated_files_are_refused() {
    for (bytes, read) in files() {
        assert!(read(&bytes).is_ok());
        for length in (0..bytes.len()).step_by(97).chain(bytes.len().saturating_sub(300)..bytes.len()) {
            match read(&bytes[..length]) {
                Err(error) => assert!(error.to_string().starts_with("model: "), "{error}"),
                // ONNX ends with fields that may be missing.
                Ok(model) => assert_eq!(model.inputs(), 9, "{length} of {}", bytes.len()),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    /// A model or an error that names the file, and no panic.
    #[test]
    fn damaged_files_do_no_harm(kind in 0..3_usize, flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..8), header in any::<bool>()) {
        let (mut bytes, read) = FILES.with(|files| files[kind].clone());
        let end = if header { bytes.len().min(900) } else { bytes.len() };
        for (at, bit) in flips {
            bytes[at.index(end)] ^= 1 << bit;
        }
        if let Err(error) = read(&bytes) {
            prop_assert!(error.to_string().starts_with("model: "), "{}", error);
        }
    }

    #[test]
    fn noise_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, read) in FILES.with(Clone::clone) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}

thread_local! {
    static FILES: [(Vec<u8>, Read); 3] = files();
}

/// One field of an ONNX file after another, changed on purpose.
mod damaged_onnx {
    use super::*;

    /// A field of a protobuf message: its number, its type, its bytes.
    fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
        [varint(u64::from(number << 3 | 2)), varint(bytes.len() as u64), bytes.to_vec()].concat()
    }

    fn number(number: u32, value: u64) -> Vec<u8> {
        [varint(u64::from(number << 3)), varint(value)].concat()
    }

    fn varint(mut x: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while x > 127 {
            bytes.push(x as u8 | 128);
            x >>= 7;
        }
        bytes.push(x as u8);
        bytes
    }

    fn node(op: &str, inputs: &[&str], output: &str, more: &[u8]) -> Vec<u8> {
        let inputs: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
        let node =
            [inputs, field(2, output.as_bytes()), field(3, b"it"), field(4, op.as_bytes()), more.to_vec()].concat();
        field(1, &node)
    }

    fn tensor(name: &str, kind: u64, dims: &[u64], numbers: &[f32]) -> Vec<u8> {
        let dims: Vec<u8> = dims.iter().flat_map(|&dim| number(1, dim)).collect();
        let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        field(5, &[dims, number(2, kind), field(8, name.as_bytes()), field(9, &raw)].concat())
    }

    fn read(nodes: &[Vec<u8>]) -> String {
        read_of(nodes, &[])
    }

    /// The same of a graph whose input has a type.
    fn read_of(nodes: &[Vec<u8>], kind: &[u8]) -> String {
        let input = [field(1, b"x"), kind.to_vec()].concat();
        let graph = [nodes.concat(), field(11, &input), field(12, &field(1, b"y"))].concat();
        match onnx::from_bytes(&field(7, &graph), file()) {
            Ok(model) => format!("a model of {} inputs", model.inputs()),
            Err(error) => error.to_string(),
        }
    }

    /// Attributes and dimensions that change what a graph means.
    #[test]
    fn what_is_not_read_is_refused() {
        let gemm = |from| node("Gemm", &[from, "w"], "y", &[]);
        let w = tensor("w", 1, &[2, 3], &[1.0; 6]);
        let attribute = |name: &str, i: u64| field(5, &[field(1, name.as_bytes()), number(3, i)].concat());
        let constant = |dims: &[u64], numbers: &[f32]| tensor("c", 1, dims, numbers);
        let before = |op, more: &[u8], c: Vec<u8>| read(&[node(op, &["x", "c"], "h", more), gemm("h"), w.clone(), c]);
        let flat = |axis| read(&[node("Flatten", &["x"], "h", &attribute("axis", axis)), gemm("h"), w.clone()]);
        assert_eq!(flat(1), "a model of 2 inputs");
        assert!(flat(0).contains("(Flatten) has an axis other than 1"), "{}", flat(0));
        assert_eq!(before("Mul", &[], constant(&[1, 2], &[2.0, 3.0])), "a model of 2 inputs");
        let column = before("Mul", &[], constant(&[2, 1], &[2.0, 3.0]));
        assert!(column.contains("has dimensions [2, 1], more than a row"), "{column}");
        let norm = |mode| {
            let nodes = [
                node("Gemm", &["x", "w"], "h", &[]),
                node("BatchNormalization", &["h", "c", "c", "c", "c"], "y", &attribute("training_mode", mode)),
            ];
            read(&[nodes.concat(), w.clone(), constant(&[3], &[1.0; 3])])
        };
        assert_eq!(norm(0), "a model of 2 inputs");
        assert!(norm(1).contains("is in training mode"), "{}", norm(1));

        // UINT8.
        let pixels = field(2, &field(1, &number(1, 2)));
        let cast = node("Cast", &["x"], "f", &attribute("to", 1));
        let scaled = |op, by| {
            let nodes = [cast.clone(), node(op, &["f", "c"], "h", &[]), gemm("h")];
            read_of(&[nodes.concat(), w.clone(), constant(&[], &[by])], &pixels)
        };
        assert_eq!(scaled("Div", 255.0), "a model of 2 inputs");
        assert_eq!(scaled("Mul", 1.0 / 255.0), "a model of 2 inputs");
        for wrong in [scaled("Mul", 1.0), read_of(&[cast.clone(), gemm("f"), w.clone()], &pixels)] {
            assert!(wrong.contains("does not begin with dividing them by 255"), "{wrong}");
        }
    }

    #[test]
    fn errors_name_node_and_field() {
        let gemm = node("Gemm", &["x", "w"], "y", &[]);
        let w = |dims: &[u64], numbers: &[f32]| tensor("w", 1, dims, numbers);
        let good = w(&[2, 3], &[1.0; 6]);
        let attribute = |name: &str, more: Vec<u8>| field(5, &[field(1, name.as_bytes()), more].concat());
        let alpha = attribute("alpha", [varint(2 << 3 | 5), 2.0_f32.to_le_bytes().to_vec()].concat());
        for (nodes, says) in [
            (vec![gemm.clone(), good.clone()], "a model of 2 inputs"),
            (vec![gemm.clone()], "model: node 0 \"it\" (Gemm) input 1 \"w\" is no constant"),
            (vec![gemm.clone(), w(&[1 << 60, 1 << 60], &[1.0; 6])], "input 1 \"w\" has 6 numbers for dimensions"),
            (vec![gemm.clone(), w(&[1 << 60, 3], &[1.0; 6])], "has 6 numbers for dimensions [1152921504606846976, 3]"),
            (vec![gemm.clone(), w(&[u64::MAX, 3], &[1.0; 6])], "has 6 numbers for dimensions [-1, 3]"),
            (vec![gemm.clone(), w(&[6], &[1.0; 6])], "has dimensions [6], but must be a matrix"),
            (vec![gemm.clone(), w(&[0, 3], &[])], "has dimensions [0, 3], but must be a matrix"),
            (vec![gemm.clone(), w(&[2, 3], &[1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0])], "input 1 \"w\" is not finite"),
            (vec![gemm.clone(), tensor("w", 11, &[2, 3], &[1.0; 6])], "has type 11 in location 0, but must be FLOAT"),
            (vec![node("Gemm", &["x", "w"], "y", &alpha), good.clone()], "(Gemm) has alpha 2, but must have 1"),
            (vec![node("Gemm", &["w", "x"], "y", &[]), good.clone()], "takes \"x\" in another place than 0"),
            (vec![node("Conv", &["x", "w"], "y", &[]), good.clone()], "(Conv) is no operator of a plain chain"),
            (vec![node("Relu", &["x"], "y", &[])], "(Relu) comes before the first layer"),
            (
                vec![node("Gemm", &["x", "w"], "h", &[]), node("Relu", &["h"], "y", &[]), good.clone()],
                "node 1 \"it\" (Relu) is at the end",
            ),
            (
                vec![node("Gemm", &["x", "w"], "h", &[]), node("MatMul", &["h", "w"], "y", &[]), good.clone()],
                "(MatMul) takes 2 columns, but there are 3",
            ),
            (
                vec![
                    node("Gemm", &["x", "w"], "h", &[]),
                    node("Sigmoid", &["h"], "s", &[]),
                    node("Softmax", &["s"], "y", &[]),
                    good.clone(),
                ],
                "node 1 \"it\" (Sigmoid) is at the end",
            ),
            (
                vec![
                    node("Gemm", &["x", "w"], "h", &[]),
                    node("Dropout", &["h", "", "t"], "y", &[]),
                    good.clone(),
                    field(5, &[number(2, 9), number(5, 1), field(8, b"t")].concat()),
                ],
                "(Dropout) is in training mode",
            ),
            (vec![node("Gemm", &["x", "w"], "z", &[]), good.clone()], "tensor \"x\" is used by no node"),
            (vec![node("Identity", &["x"], "h", &[]), node("Add", &["h", "x"], "y", &[])], "branches off"),
            (vec![node("Add", &["x", "y"], "x", &[]), node("Identity", &["x"], "y", &[])], "branches off"),
            (
                vec![node("Softmax", &["x"], "h", &[]), node("Gemm", &["h", "w"], "y", &[]), good.clone()],
                "comes after node 0",
            ),
            (vec![node("Identity", &["x"], "y", &[])], "graph has no layer"),
        ] {
            let said = read(&nodes);
            assert!(said.contains(says), "{said:?} does not say {says:?}");
        }
        assert_eq!(
            onnx::from_bytes(&[], file()).err().unwrap().to_string(),
            "model: graph is missing: this is no ONNX file"
        );
    }

    /// Messages in messages, far deeper than any file has them, and groups without end.
    #[test]
    fn deep_nesting_is_refused() {
        let mut deep = Vec::new();
        for _ in 0..5000 {
            deep = field(7, &field(1, &field(5, &field(5, &deep))));
        }
        assert!(onnx::from_bytes(&deep, file()).is_err());
        assert!(onnx::from_bytes(&[0x7b; 100_000], file()).is_err());
        let json = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
        let bytes = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
        assert!(export::safetensors_from_bytes(&bytes, file(), Layout::PyTorch, Activation::Relu).is_err());
    }
}
