//! The records of all commands against `docs/json.md`, and the page of the report in a browser where there is one.

use byteorder::{BigEndian, WriteBytesExt};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The types of `docs/json.md`: for each section its fields and their types.
struct Schema(BTreeMap<String, Vec<(String, String)>>);

impl Schema {
    fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
        let text = fs::read_to_string(file).expect("the documentation");
        let (mut types, mut section): (BTreeMap<String, Vec<_>>, _) = (BTreeMap::new(), String::new());
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("## ") {
                section = name.to_owned();
                types.entry(section.clone()).or_default();
            } else if let Some(base) = line.strip_prefix("The fields of `") {
                let base = base.split('`').next().unwrap();
                types.get_mut(&section).unwrap().push(("".to_owned(), base.to_owned()));
            } else if let Some(row) = line.strip_prefix("| `") {
                let mut cells = row.split(" | ");
                let field = cells.next().unwrap().trim_end_matches('`').to_owned();
                types.get_mut(&section).unwrap().push((field, cells.next().unwrap().to_owned()));
            }
        }
        Self(types)
    }

    /// The fields of a section; an unnamed one stands for those of another.
    fn fields(&self, section: &str) -> BTreeMap<&str, &str> {
        let own = self.0.get(section).unwrap_or_else(|| panic!("docs/json.md has no section {section}"));
        own.iter()
            .flat_map(|(field, kind)| match field.as_str() {
                "" => self.fields(kind),
                _ => BTreeMap::from([(field.as_str(), kind.as_str())]),
            })
            .collect()
    }

    fn check(&self, value: &Value, kind: &str, at: &str) {
        if let Some(kind) = kind.strip_suffix('?') {
            if !value.is_null() {
                self.check(value, kind, at);
            }
            return;
        }
        if let Some(command) = kind.strip_prefix("record ") {
            return self.check_record(value, command);
        }
        let inner = |open, close| kind.strip_prefix(open).and_then(|kind| kind.strip_suffix(close));
        if let Some(kind) = inner('[', ']') {
            let items = value.as_array().unwrap_or_else(|| panic!("{at} is no list: {value}"));
            return items.iter().for_each(|item| self.check(item, kind, &format!("{at}[]")));
        }
        if let Some(kind) = inner('{', '}') {
            let fields = value.as_object().unwrap_or_else(|| panic!("{at} is no object: {value}"));
            return fields.iter().for_each(|(name, value)| self.check(value, kind, &format!("{at}.{name}")));
        }
        let right = match kind {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_u64(),
            "boolean" => value.is_boolean(),
            section => {
                let fields = value.as_object().unwrap_or_else(|| panic!("{at} is no object: {value}"));
                return self.check_fields(fields, &self.fields(section), at);
            }
        };
        assert!(right, "{at} is no {kind}: {value}");
    }

    fn check_fields(&self, found: &Map<String, Value>, documented: &BTreeMap<&str, &str>, at: &str) {
        let undocumented: Vec<_> = found.keys().filter(|name| !documented.contains_key(name.as_str())).collect();
        assert!(undocumented.is_empty(), "{at}: docs/json.md does not have {undocumented:?}");
        for (name, kind) in documented {
            let value = found.get(*name).unwrap_or_else(|| panic!("{at}.{name} is documented but missing"));
            self.check(value, kind, &format!("{at}.{name}"));
        }
    }

    /// A whole record: the head, and the section of its command.
    fn check_record(&self, record: &Value, command: &str) {
        assert_eq!(record["schema"], format!("harness/{command}/1"));
        let mut documented = self.fields("head");
        documented.extend(self.fields(command));
        self.check_fields(record.as_object().expect("a record is an object"), &documented, command);
    }
}

/// A directory with a tiny data set: images of a bright row each, the label says which row.
fn tiny() -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    for (name, count) in [("train", 40usize), ("t10k", 12)] {
        let labels: Vec<u8> = (0..count).map(|i| (i % 4) as u8).collect();
        let image = |&label: &u8| (0..16).map(move |p| if p / 4 == label { 200 } else { 0 });
        let images: Vec<u8> = labels.iter().flat_map(image).collect();
        for (kind, dims, bytes) in [("images-idx3", vec![count, 4, 4], images), ("labels-idx1", vec![count], labels)] {
            let mut file = Vec::new();
            file.write_u32::<BigEndian>(0x0800 + dims.len() as u32).unwrap();
            dims.iter().for_each(|&dim| file.write_u32::<BigEndian>(dim as u32).unwrap());
            file.extend(bytes);
            fs::write(dir.path().join(format!("{name}-{kind}-ubyte")), file).unwrap();
        }
    }
    dir
}

fn harness(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(args).env_remove("KERNELS_ISA").env_remove("KERNELS_PROFILE");
    command
}

/// The record on standard output.
#[track_caller]
fn record(command: &mut Command) -> Value {
    record_of(command, 0)
}

/// The same of a command that ends with this code.
#[track_caller]
fn record_of(command: &mut Command, code: i32) -> Value {
    let output = command.args(["--json", "-"]).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.is_empty(), "text goes to standard error");
    serde_json::from_slice(&output.stdout).expect("standard output is the record alone")
}

#[test]
fn records_are_as_documented() {
    let (schema, tiny) = (Schema::read(), tiny());
    let (data, out) = (tiny.path().to_str().unwrap(), tiny.path().join("out"));
    let out = out.to_str().unwrap();
    schema.check_record(&record(harness(&["info", "--data", data]).env("KERNELS_ISA", "portable")), "info");
    for more in [&["--transpose-a", "--threads", "2"][..], &["--type", "f64"], &["--cold"]] {
        schema.check_record(&record(harness(&["gemm", "9", "5", "7", "--time", "0"]).args(more)), "gemm");
    }
    schema.check_record(&record(&mut harness(&["act", "silu", "100", "--time", "0"])), "act");
    for more in [&[][..], &["--precision", "f32-amx,bf16"]] {
        schema.check_record(&record(harness(&["step", "9,5,3", "--time", "0"]).args(more)), "step");
    }
    let profile = format!("{out}/this.profile");
    schema.check_record(&record(&mut harness(&["tune", "--time", "0", "--out", &profile])), "tune");
    schema.check_record(&record(&mut harness(&["tune", "--explain", "--out", &profile])), "tune");
    let train = ["train", "--epochs", "1", "--hidden", "5", "--data", data, "--out", out];
    schema.check_record(&record(&mut harness(&train)), "train");
    let model = format!("{out}/model.safetensors");
    schema.check_record(&record(&mut harness(&["evaluate", &model, "--data", data])), "evaluate");
    let predict = ["predict", "--index", "0,3", "--data", data, "--model", &model];
    schema.check_record(&record(&mut harness(&predict)), "predict");
    let file = |name: &str| format!("{out}/{name}");
    for name in ["m.onnx", "m.npz", "m.rs"] {
        schema.check_record(&record(&mut harness(&["export", &model, &file(name)])), "export");
    }
    let import = ["import", &file("m.npz"), &file("again"), "--labels", "a,b,c,d"];
    schema.check_record(&record(&mut harness(&import)), "import");
    schema.check_record(&record(&mut harness(&["quantize", &model, &file("small"), "--data", data])), "quantize");
    let prune = ["prune", &model, "--sparsity", "0.5", "--epochs", "1", "--data", data];
    schema.check_record(&record(&mut harness(&prune)), "prune");
    let watched = file("watched");
    assert!(harness(&["monitor", &model, "--learn", &watched, "--data", data]).output().unwrap().status.success());
    schema.check_record(&record(&mut harness(&["monitor", &watched, "--data", data])), "monitor");
    let certify = ["certify", "--function", "exp,gelu", "--sample", "1000003", "--isa", "portable,plain"];
    schema.check_record(&record(&mut harness(&certify)), "certify");
    // What fails is told in the record, too.
    fs::write(file("other.txt"), format!("{:064}  the whole\n", 0)).unwrap();
    let failed = record_of(&mut harness(&["fingerprint", "--blocks", "9x9", "--check", &file("other.txt")]), 1);
    schema.check_record(&failed, "fingerprint");
    assert!(!failed["failures"].as_array().unwrap().is_empty());
}

#[test]
fn the_report_is_as_documented_and_opens_without_an_error() {
    let (schema, tiny) = (Schema::read(), tiny());
    let out = tiny.path().join("out");
    let output = harness(&["report", "--quick", "--data"]).arg(tiny.path()).arg("--out").arg(&out).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Nobody learns from so few images; that is the only check that may fail.
    let failures: Vec<&str> = said.lines().filter(|line| line.starts_with("  ")).collect();
    assert!(failures.iter().all(|line| line.contains("test accuracy")), "{said}");
    let file = |name: &str| fs::read_to_string(out.join(name)).unwrap_or_else(|_| panic!("{name}: {said}"));
    let report: Value = serde_json::from_str(&file("report.json")).expect("report.json is JSON");
    schema.check_record(&report, "report");
    let csv = file("report.csv");
    let columns = |line: &str| line.split(',').count();
    assert!(csv.lines().count() > 50 && csv.lines().all(|line| columns(line) == columns(csv.lines().next().unwrap())));
    let page = file("report.html");
    for link in ["http:", "https:", "src="] {
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(link), "the page needs {link}");
    }
    for (open, close) in [("<table", "</table>"), ("<svg", "</svg>"), ("<section", "</section>"), ("<div", "</div>")] {
        assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
    }
    open_in_browser(&out.join("report.html"), &tiny);
}

/// Loads the page in headless Chromium, which must find nothing to complain about and all of the page.
fn open_in_browser(page: &Path, room: &TempDir) {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found =
        |name| std::env::split_paths(&places).map(move |dir: PathBuf| dir.join(name)).find(|file| file.is_file());
    let Some(browser) = names.into_iter().find_map(found) else {
        println!("skipped: no Chromium to open {} with", page.display());
        return;
    };
    let quiet = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .args(quiet)
        .arg(format!("--user-data-dir={}", room.path().join("browser").display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("CONSOLE"), "{said}");
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(seen.contains("Where a step's time goes") && seen.contains("</main>"), "{seen}");
}
