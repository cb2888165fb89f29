//! `harness fingerprint`: a fixed deck of calls, hashed. Every machine and every setting must give the same lines.

use super::json;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::record::Head;
use clap::value_parser;
use kernels::{
    Activation, Adam, Backend, BatchMut, BatchRef, Blocking, Element, Function, Gemm, Layout, MatMut, MatRef, Operand,
    Par, Serial, Team, Tuning, Update, Workspace,
};
use nn::prune::{Scope, prune};
use nn::quantize::{Calibration, Quantized};
use nn::{
    AdamW, Clip, Dataset, Dense, EarlyStopping, Initialiser, Kernels, Loss, Mlp, Norm, Optimiser, Penalty, Predictor,
    Recipe, RmsProp, Schedule, Sgd, Targets, Trainer,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

const AFTER: &str = "\
The parts do not depend on the CPU, the threads, or the block sizes, so their lines can be
compared with those of any other machine: docs/fingerprint.txt holds them. KERNELS_ISA pins the
row of the kernels' table.

Examples:
  harness fingerprint --check docs/fingerprint.txt
  harness fingerprint --every";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// Compare with the lines of this file; where they differ, name the parts and fail
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Threads that compute
    #[arg(long, value_name = "N", default_value = "1", value_parser = value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Block sizes of the products, as KCxNC, instead of those that the library chooses
    #[arg(long, value_name = "KCxNC", value_parser = blocks)]
    blocks: Option<Blocking>,
    /// Every row of the table that this CPU has, by 1, 2, 3 and 7 threads, with tiny, small and the chosen blocks; all
    /// must agree
    #[arg(long, conflicts_with_all = ["threads", "blocks"])]
    every: bool,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    settings: Vec<Fingerprint>,
    failures: Vec<String>,
}

/// The deck in one setting.
#[derive(Serialize)]
struct Fingerprint {
    row: &'static str,
    threads: usize,
    kc: Option<usize>,
    nc: Option<usize>,
    parts: BTreeMap<String, String>,
}

fn blocks(text: &str) -> std::result::Result<Blocking, &'static str> {
    let parse = |number: &str| number.parse().ok().filter(|&n: &usize| n > 0);
    let (kc, nc) = text.split_once('x').ok_or("wants two numbers, such as 256x64")?;
    match (parse(kc), parse(nc)) {
        (Some(kc), Some(nc)) => Ok(Blocking { kc, nc }),
        _ => Err("wants two numbers above 0, such as 256x64"),
    }
}

/// Prints a line for each part and one for the whole, and fails if they are not those that were asked for.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    args.json.prepare(&args.check, [], console)?;
    let wanted = args.check.as_deref().map(read).transpose()?;
    let mut record = Record { head: Head::new("fingerprint"), settings: Vec::new(), failures: Vec::new() };
    if args.every {
        every(wanted.as_deref(), &mut record, console)?;
    } else {
        let team = Team::new(args.threads as usize);
        let par: &dyn Par = if args.threads == 1 { &Serial } else { &team };
        let setting = Setting { backend: Backend::active()?, par, blocking: args.blocks };
        if wanted.is_some() && !setting.backend.bits_match() {
            let why = "the row plain rounds otherwise than all others: there is nothing to compare it with";
            return Err(Error::Usage(why));
        }
        let found = setting.lines(console)?;
        console.print(&found)?;
        record.failures = wanted.map_or_else(Vec::new, |wanted| differences(&setting.name(), &wanted, &found));
        record.settings.push(setting.fingerprint(&found));
    }
    args.json.write(&record, console)?;
    if record.failures.is_empty() { Ok(()) } else { Err(Error::Checks { failures: record.failures }) }
}

fn every(wanted: Option<&str>, record: &mut Record, console: &mut Console) -> Result<()> {
    const TINY: Option<Blocking> = Some(Blocking { kc: 1, nc: 1 });
    const SMALL: Option<Blocking> = Some(Blocking { kc: 512, nc: 70 });
    let teams = [2, 3, 7].map(Team::new);
    let ways: [(&dyn Par, _); 6] =
        [(&Serial, None), (&Serial, TINY), (&Serial, SMALL), (&teams[0], None), (&teams[1], TINY), (&teams[2], SMALL)];
    // The first is compared with what is wanted, each other with the one before.
    let mut last: Option<String> = wanted.map(Into::into);
    for backend in Backend::supported().filter(|b| b.bits_match()) {
        for (par, blocking) in ways {
            let setting = Setting { backend, par, blocking };
            let found = setting.lines(console)?;
            console.line(format_args!("{}  {}", found.lines().last().unwrap_or_default(), setting.name()))?;
            if let Some(last) = &last {
                record.failures.extend(differences(&setting.name(), last, &found));
            }
            record.settings.push(setting.fingerprint(&found));
            last = Some(found);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    let error = |source| Error::Read { path: file.into(), source };
    let text = fs::read_to_string(file).map_err(error)?;
    let digest = |line: &str| {
        line.split_once("  ")
            .is_some_and(|(digest, _)| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    match text.lines().position(|line| !digest(line)) {
        None if !text.is_empty() => Ok(text),
        line => {
            let why = format!("line {} is none of harness fingerprint", line.unwrap_or(0) + 1);
            Err(error(io::Error::new(io::ErrorKind::InvalidData, why)))
        }
    }
}

/// The parts of `found` that are not in `wanted`, and the other way round.
fn differences(name: &str, wanted: &str, found: &str) -> Vec<String> {
    let missing = |lines: &str, of: &str, what: &str| {
        let absent = of.lines().filter(|line| !lines.lines().any(|other| other == *line));
        absent.map(|line| format!("{name}: {what} {line}")).collect::<Vec<_>>()
    };
    [missing(found, wanted, "expected"), missing(wanted, found, "found   ")].concat()
}

/// How the deck is computed, which must not matter.
struct Setting<'a> {
    backend: &'static Backend,
    par: &'a dyn Par,
    blocking: Option<Blocking>,
}

/// A hash that takes numbers: their bits, little-endian, all NaNs made one.
struct Hash(Sha256);

impl Hash {
    fn f32s(&mut self, numbers: &[f32]) {
        for x in numbers {
            self.0.update(if x.is_nan() { f32::NAN } else { *x }.to_bits().to_le_bytes());
        }
    }

    fn f64s(&mut self, numbers: &[f64]) {
        for x in numbers {
            self.0.update(if x.is_nan() { f64::NAN } else { *x }.to_bits().to_le_bytes());
        }
    }

    fn model(&mut self, model: &Mlp) {
        model.parameters().chain(model.running()).for_each(|numbers| self.f32s(numbers));
    }
}

/// The element types of a product.
trait Number: Element {
    fn of(x: f32) -> Self;
    fn hash(numbers: &[Self], hash: &mut Hash);
}

impl Number for f32 {
    fn of(x: f32) -> Self {
        x
    }
    fn hash(numbers: &[Self], hash: &mut Hash) {
        hash.f32s(numbers);
    }
}

impl Number for f64 {
    /// With digits that f32 has not.
    fn of(x: f32) -> Self {
        Self::from(x) * 1.000_000_01
    }
    fn hash(numbers: &[Self], hash: &mut Hash) {
        hash.f64s(numbers);
    }
}

/// The `i`-th number of a sequence (the finaliser of SplitMix64, Steele et al. 2014, figure 16).
fn random(i: u64) -> u64 {
    let mut z = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Numbers in [-1, 1).
fn numbers<T: Number>(seed: u64, len: usize) -> Vec<T> {
    (0..len as u64).map(|i| T::of((random((seed << 32) + i) >> 40) as f32 / (1 << 23) as f32 - 1.0)).collect()
}

/// One float of each of `count` equal parts of all bit patterns.
fn stratified(count: u32) -> Vec<f32> {
    let width = u32::MAX / count + 1;
    (0..count).map(|i| f32::from_bits(i * width + (random(u64::from(i)) as u32) % width)).collect()
}

type Run = dyn Fn(&Setting<'_>, &mut Hash) -> Result<()>;

/// A part of the deck: its name, and what adds its results to the hash.
struct Part {
    name: String,
    run: Box<Run>,
}

fn part(name: impl Into<String>, run: impl Fn(&Setting<'_>, &mut Hash) -> Result<()> + 'static) -> Part {
    Part { name: name.into(), run: Box::new(run) }
}

/// Everything that is hashed. A new operation is a line here, and a commit of `docs/fingerprint.txt`.
fn deck() -> Vec<Part> {
    let mut parts = vec![
        part("product sizes f32", sizes::<f32>),
        part("product sizes f64", sizes::<f64>),
        part("product layouts f32", layouts::<f32>),
        part("product layouts f64", layouts::<f64>),
        part("product epilogues", epilogues),
        part("product special values", special),
        part("product packed, planned, tuned f32", ways::<f32>),
        part("product packed, planned, tuned f64", ways::<f64>),
        part("product batches", batches),
    ];
    parts.extend(Function::ALL.map(|f| {
        part(format!("function {}", f.name()), move |s, hash| {
            let mut x = stratified(1 << 20);
            s.backend.map(f, &mut x);
            hash.f32s(&x);
            Ok(())
        })
    }));
    parts.extend([
        part("gradients", gradients),
        part("softmax", softmax),
        part("softmax with cross-entropy", cross_entropy),
        part("log-softmax", log_softmax),
        part("reductions", reductions),
        part("layer normalisation", layer_norm),
        part("scaled bytes", scaled_bytes),
        part("axpy, scale, bias", linear),
        part("adam", adam),
        part("updates", updates),
    ]);
    parts.extend(trainings().into_iter().map(|(name, training)| {
        part(format!("training {name}"), move |s, hash| training.run(s).map(|model| hash.model(&model)))
    }));
    parts.push(part("save and load", save_and_load));
    parts.push(part("predictor, 8 bits, pruned", deployed));
    parts
}

impl Setting<'_> {
    fn name(&self) -> String {
        let blocks = self.blocking.map_or_else(|| "chosen".into(), |b| format!("{}x{}", b.kc, b.nc));
        format!("{}, threads {}, blocks {blocks}", self.backend.name(), self.par.threads())
    }

    /// Its lines, for the record.
    fn fingerprint(&self, lines: &str) -> Fingerprint {
        let (row, threads) = (self.backend.name(), self.par.threads());
        let (kc, nc) = self.blocking.map(|Blocking { kc, nc }| (kc, nc)).unzip();
        let parts = lines.lines().filter_map(|line| line.split_once("  "));
        let parts = parts.map(|(hash, name)| (name.to_owned(), hash.to_owned())).collect();
        Fingerprint { row, threads, kc, nc, parts }
    }

    /// A line for each part, and the last for all before it.
    fn lines(&self, console: &mut Console) -> Result<String> {
        let deck = deck();
        console.begin(deck.len() as u64);
        let mut lines = String::new();
        for part in deck {
            let mut hash = Hash(Sha256::new());
            (part.run)(self, &mut hash)?;
            line(&mut lines, hash.0, &part.name);
            console.step();
        }
        console.end();
        let whole = Sha256::new_with_prefix(&lines);
        line(&mut lines, whole, "the whole");
        Ok(lines)
    }

    fn gemm<T: Element>(&self) -> Gemm<'_, T> {
        let call = Gemm::new().backend(self.backend).par(self.par);
        match self.blocking {
            Some(blocking) => call.blocking(blocking),
            None => call,
        }
    }
}

fn line(lines: &mut String, hash: Sha256, name: &str) {
    hash.finalize().iter().for_each(|byte| write!(lines, "{byte:02x}").expect("a String takes all"));
    writeln!(lines, "  {name}").expect("a String takes all");
}

/// Every route: one element, rows, columns, single tiles, edges, chunks, blocks, and enough for threads to share.
const SIZES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 300, 70),
    (1, 2000, 1100),
    (70, 300, 1),
    (2, 3, 130),
    (5, 256, 31),
    (8, 8, 8),
    (12, 257, 33),
    (13, 515, 64),
    (33, 784, 10),
    (61, 40, 75),
    (150, 300, 170),
    (9, 700, 1000),
    (800, 260, 7),
];

fn sizes<T: Number>(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    for (m, k, n) in SIZES {
        let (a, b, mut c) = (numbers::<T>(1, m * k), numbers::<T>(2, k * n), numbers::<T>(3, m * n));
        let (a, b) = (MatRef::new(&a, m, k)?, MatRef::new(&b, k, n)?);
        s.gemm().beta(T::of(0.5)).run(a, b, MatMut::new(&mut c, m, n)?)?;
        T::hash(&c, hash);
    }
    Ok(())
}

/// The products of [`sizes`] by every other way to say them.
fn ways<T: Number>(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let workspace = Workspace::new();
    let tuning = Tuning::from_values([1; Tuning::NAMES.len()]);
    for (m, k, n) in SIZES {
        let (a, b) = (numbers::<T>(1, m * k), numbers::<T>(2, k * n));
        let (a, b) = (MatRef::new(&a, m, k)?, MatRef::new(&b, k, n)?);
        let call = s.gemm::<T>().beta(T::of(0.5));
        let (packed_a, packed_b) = (call.pack_a(a)?, call.pack_b(b)?);
        let dense = Layout::row_major;
        let plan = call.prepare(dense(m, k), dense(k, n), dense(m, n))?;
        let mut run = |call: Gemm<'_, T>, a: Operand<'_, T>, b: Operand<'_, T>| -> Result<()> {
            let mut c = numbers::<T>(3, m * n);
            call.run(a, b, MatMut::new(&mut c, m, n)?)?;
            T::hash(&c, hash);
            Ok(())
        };
        run(call, (&packed_a).into(), b.into())?;
        run(call, a.into(), (&packed_b).into())?;
        run(call, (&packed_a).into(), (&packed_b).into())?;
        run(call.plan(&plan), a.into(), b.into())?;
        run(call.tuning(&tuning), a.into(), b.into())?;
        run(call.workspace(&workspace), a.into(), b.into())?;
    }
    Ok(())
}

fn batches(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let (count, m, k, n) = (5, 6, 30, 17);
    let (a, b) = (numbers::<f32>(1, count * m * k), numbers::<f32>(2, count * k * n));
    let each = BatchRef::strided(&b, count, k * n, k, n)?;
    for b in [each, MatRef::new(&b[..k * n], k, n)?.into()] {
        let mut c: Vec<f32> = numbers(3, count * m * n);
        let a = BatchRef::strided(&a, count, m * k, m, k)?;
        s.gemm().beta(0.5).run_batch(a, b, BatchMut::strided(&mut c, count, m * n, m, n)?)?;
        hash.f32s(&c);
    }
    Ok(())
}

/// Plain, transposed, and a part of a larger matrix, of each operand.
fn layouts<T: Number>(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    const PLACES: usize = 3;
    fn view<T: Element>(place: usize, data: &[T], rows: usize, cols: usize) -> Result<MatRef<'_, T>> {
        Ok(match place {
            0 => MatRef::new(data, rows, cols)?,
            1 => MatRef::new(data, cols, rows)?.t(),
            _ => MatRef::with_strides(data, rows, cols, 2 * cols + 3, 2)?,
        })
    }
    for (m, k, n) in [(7, 9, 21), (40, 270, 35), (1, 40, 50), (50, 40, 1)] {
        let room = |rows: usize, cols: usize| (2 * cols + 3) * rows;
        let (a, b) = (numbers::<T>(1, room(m, k).max(m * k)), numbers::<T>(2, room(k, n)));
        for place in 0..PLACES.pow(3) {
            let (pa, pb, pc) = (place % PLACES, place / PLACES % PLACES, place / PLACES / PLACES);
            let mut c = numbers::<T>(3, room(m, n));
            let to = match pc {
                0 => MatMut::new(&mut c[..m * n], m, n)?,
                1 => MatMut::new(&mut c[..m * n], n, m)?.t(),
                _ => MatMut::with_strides(&mut c, m, n, 2 * n + 3, 2)?,
            };
            let take = |place, rows, cols| if place == 2 { room(rows, cols) } else { rows * cols };
            let (a, b) = (view(pa, &a[..take(pa, m, k)], m, k)?, view(pb, &b[..take(pb, k, n)], k, n)?);
            s.gemm().beta(T::of(-1.0)).run(a, b, to)?;
            T::hash(&c, hash);
        }
    }
    Ok(())
}

/// Factors, both biases, and every activation at the end of a product.
fn epilogues(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let (m, n) = (14, 35);
    let bias = numbers(4, m.max(n));
    for f in Activation::ALL {
        for (k, alpha, beta) in [(0, 1.0, 1.0), (20, 0.5, 0.0), (300, 4.0, -1.0), (20, 0.0, 0.5)] {
            let (a, b) = (numbers::<f32>(1, m * k), numbers::<f32>(2, k * n));
            let (a, b) = (MatRef::new(&a, m, k)?, MatRef::new(&b, k, n)?);
            let call = s.gemm().alpha(alpha).beta(beta).activation(f);
            for call in [call, call.bias(&bias[..n]), call.row_bias(&bias[..m])] {
                let mut c: Vec<f32> = numbers(3, m * n);
                call.run(a, b, MatMut::new(&mut c, m, n)?)?;
                hash.f32s(&c);
            }
        }
    }
    Ok(())
}

/// NaN, infinities, zeros of both signs and subnormals, in every operand.
fn special(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::MIN_POSITIVE, 1e-40, f32::MAX, 1.0];
    let (m, k, n) = (odd.len(), 5, odd.len() * 4);
    for zero in [0.0, -0.0] {
        let mut a = vec![zero; m * k];
        let mut b = vec![zero; k * n];
        for (i, x) in odd.into_iter().enumerate() {
            a[i * k + i % k] = x;
            (0..k).for_each(|p| b[p * n + i * 4 + p % 4] = x);
        }
        let (a, b) = (MatRef::new(&a, m, k)?, MatRef::new(&b, k, n)?);
        for beta in [0.0, 1.0] {
            let mut c: Vec<f32> = odd.into_iter().cycle().take(m * n).collect();
            s.gemm().beta(beta).activation(Activation::Relu).run(a, b, MatMut::new(&mut c, m, n)?)?;
            hash.f32s(&c);
        }
    }
    Ok(())
}

fn gradients(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let (x, ones) = (stratified(1 << 16), vec![1.0; 1 << 16]);
    for f in Function::ALL {
        if let Function::Activation(f) = f {
            let mut dy = ones.clone();
            s.backend.activation_backward(f, &x, &mut dy)?;
            hash.f32s(&dy);
        }
    }
    Ok(())
}

/// Shapes of the functions of rows: short, long, single, many.
const ROWS: [(usize, usize); 6] = [(1, 1), (33, 10), (7, 16), (5, 67), (3, 1000), (200, 3)];

fn softmax(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    for (rows, cols) in ROWS {
        let mut x: Vec<f32> = numbers(5, rows * cols);
        x.iter_mut().for_each(|x| *x *= 20.0);
        s.backend.softmax(MatMut::new(&mut x, rows, cols)?);
        hash.f32s(&x);
        s.backend.softmax(MatMut::new(&mut x, cols, rows)?.t());
        hash.f32s(&x);
    }
    Ok(())
}

fn cross_entropy(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    for (rows, cols) in ROWS {
        let (mut x, mut losses): (Vec<f32>, _) = (numbers(5, rows * cols), vec![0.0; rows]);
        x.iter_mut().for_each(|x| *x *= 20.0);
        let labels: Vec<u32> = (0..rows as u64).map(|i| (random(i) % cols as u64) as u32).collect();
        s.backend.softmax_cross_entropy(MatMut::new(&mut x, rows, cols)?, &labels, 1.0 / rows as f32, &mut losses)?;
        hash.f32s(&x);
        hash.f32s(&losses);
    }
    Ok(())
}

fn log_softmax(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    for (rows, cols) in ROWS {
        let mut x: Vec<f32> = numbers(5, rows * cols);
        x.iter_mut().for_each(|x| *x *= 20.0);
        s.backend.log_softmax(MatMut::new(&mut x, rows, cols)?);
        hash.f32s(&x);
    }
    Ok(())
}

fn reductions(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    for (rows, cols) in ROWS {
        let (x, mut columns): (Vec<f32>, _) = (numbers(6, rows * cols), vec![0.0; cols]);
        let (mut out, mut places) = (vec![0.0; rows], vec![0; rows]);
        for x in [MatRef::new(&x, rows, cols)?, MatRef::col_major(&x, rows, cols)?] {
            s.backend.column_sums(x, &mut columns)?;
            hash.f32s(&columns);
            s.backend.row_sums(x, &mut out)?;
            hash.f32s(&out);
            s.backend.row_max(x, &mut out)?;
            hash.f32s(&out);
            s.backend.log_sum_exp(x, &mut out)?;
            hash.f32s(&out);
            s.backend.row_argmax(x, &mut places)?;
            places.iter().for_each(|i| hash.0.update(i.to_le_bytes()));
        }
    }
    Ok(())
}

fn layer_norm(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    for (rows, cols) in ROWS {
        let (mut x, mut y, mut dy) = (numbers(5, rows * cols), vec![0.0; rows * cols], numbers(6, rows * cols));
        let (gain, bias, mut scales) = (numbers(7, cols), numbers(8, cols), vec![0.0; rows]);
        let (mut d_gain, mut d_bias) = (vec![0.0; cols], vec![0.0; cols]);
        let (input, output) = (MatMut::new(&mut x, rows, cols)?, MatMut::new(&mut y, rows, cols)?);
        s.backend.layer_norm(input, &gain, &bias, 1e-5, output, &mut scales)?;
        let (normal, back) = (MatRef::new(&x, rows, cols)?, MatMut::new(&mut dy, rows, cols)?);
        s.backend.layer_norm_backward(normal, &scales, &gain, back, &mut d_gain, &mut d_bias)?;
        [x, y, scales, dy, d_gain, d_bias].iter().for_each(|x| hash.f32s(x));
    }
    Ok(())
}

fn linear(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    for (rows, cols) in ROWS {
        let (x, mut y, bias) = (numbers(5, rows * cols), numbers(6, rows * cols), numbers::<f32>(7, cols));
        s.backend.axpy(0.3, &x, &mut y)?;
        s.backend.scale(1.7, &mut y);
        s.backend.add_bias(&bias, MatMut::new(&mut y, rows, cols)?)?;
        hash.f32s(&y);
    }
    Ok(())
}

fn scaled_bytes(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let bytes: Vec<u8> = (0..=255).chain(0..77).collect();
    let mut x = vec![0.0; bytes.len()];
    s.backend.scale_bytes(&bytes, 1.0 / 255.0, &mut x)?;
    hash.f32s(&x);
    Ok(())
}

fn adam(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let len = 1003;
    let (mut p, mut m, mut v) = (numbers(7, len), vec![0.0; len], vec![0.0; len]);
    for t in 1..=5 {
        let mut g: Vec<f32> = numbers(7 + t, len);
        // Some moments decay until they are flushed, some never begin.
        g.iter_mut().enumerate().for_each(|(i, g)| *g *= [1.0, 1e-10, 1e-20, 1e-30, 0.0][i % 5]);
        s.backend.adam(&Adam::at_step(0.01, 0.9, 0.999, 1e-7, t), &g, &mut p, &mut m, &mut v)?;
    }
    [p, m, v].iter().for_each(|x| hash.f32s(x));
    Ok(())
}

fn updates(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let (rate, epsilon, len) = (0.01, 1e-7, 1003);
    let adam = Adam::at_step(rate, 0.9, 0.999, epsilon, 3);
    for rule in [
        Update::Sgd { rate },
        Update::Momentum { rate, momentum: 0.9 },
        Update::Nesterov { rate, momentum: 0.9 },
        Update::Adagrad { rate, epsilon },
        Update::RmsProp { rate, rho: 0.9, epsilon },
        Update::Adam(adam),
        Update::AdamW { adam, keep: 0.99 },
    ] {
        let (mut p, mut state) = (numbers(7, len), vec![0.0; rule.state() * len]);
        for t in 1..=3 {
            s.backend.update(&rule, &numbers::<f32>(7 + t, len), &mut p, rule.parts(&mut state))?;
        }
        hash.f32s(&p);
        hash.f32s(&state);
    }
    Ok(())
}

/// A short training: a small network on samples made up from a seed.
#[derive(Clone)]
struct Training {
    hidden: nn::Activation,
    initialiser: Initialiser,
    dropout: f32,
    norm: Norm,
    recipe: Recipe,
}

const FEATURES: usize = 20;
const CLASSES: usize = 5;

impl Default for Training {
    fn default() -> Self {
        Self {
            hidden: nn::Activation::Relu,
            initialiser: Initialiser::default(),
            dropout: 0.0,
            norm: Norm::None,
            recipe: Recipe { epochs: 3, seed: 1, ..Recipe::default() },
        }
    }
}

/// Every layer, initialiser, loss, optimiser and schedule, once.
fn trainings() -> Vec<(String, Training)> {
    use nn::Activation as F;
    let base = Training::default;
    let with = |change: &dyn Fn(&mut Recipe)| {
        let mut training = base();
        change(&mut training.recipe);
        training
    };
    let optimiser = |optimiser: Optimiser| with(&|r| r.optimiser = optimiser);
    let loss = |loss: Loss| with(&|r| r.loss = loss.clone());
    let schedule = |schedule: Schedule| with(&|r| r.schedule = schedule);
    let layer = |hidden: F| Training { hidden, ..base() };
    let start = |initialiser: Initialiser| Training { initialiser, ..base() };
    let smooth = Loss::CrossEntropy { smoothing: 0.1, class_weights: vec![1.0, 0.5, 2.0, 1.0, 1.5] };
    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let plateau = Schedule::OnPlateau { patience: 1, factor: 0.5, floor: 0.1, min_delta: 10.0 };
    [
        ("with adam", base()),
        ("with adamw", optimiser(AdamW::default().into())),
        ("with adagrad", optimiser(nn::Adagrad::default().into())),
        ("with rmsprop", optimiser(RmsProp::default().into())),
        ("with sgd", optimiser(Sgd::default().into())),
        ("with momentum", optimiser(momentum.into())),
        ("with nesterov", optimiser(Sgd { nesterov: true, ..momentum }.into())),
        ("on identity", layer(F::Identity)),
        ("on leaky-relu", layer(F::LeakyRelu { alpha: 0.1 })),
        ("on elu", layer(F::Elu { alpha: 1.0 })),
        ("on tanh", layer(F::Tanh)),
        ("on sigmoid", layer(F::Sigmoid)),
        ("on gelu", layer(F::Gelu)),
        ("on silu", layer(F::Silu)),
        ("on softplus", layer(F::Softplus)),
        ("on dropout", Training { dropout: 0.3, ..base() }),
        ("on batch normalisation", Training { norm: Norm::BATCH, ..base() }),
        ("on layer normalisation", Training { norm: Norm::LAYER, ..base() }),
        ("from glorot-normal", start(Initialiser::GlorotNormal)),
        ("from he-uniform", start(Initialiser::HeUniform)),
        ("from he-normal", start(Initialiser::HeNormal)),
        ("from lecun-uniform", start(Initialiser::LeCunUniform)),
        ("from lecun-normal", start(Initialiser::LeCunNormal)),
        ("for smoothed and weighted cross-entropy", loss(smooth)),
        ("for binary cross-entropy", loss(Loss::BinaryCrossEntropy)),
        ("for squared errors", loss(Loss::MeanSquared)),
        ("for absolute errors", loss(Loss::MeanAbsolute)),
        ("for huber errors", loss(Loss::Huber { delta: 0.5 })),
        ("by steps", schedule(Schedule::Step { every: 3, factor: 0.5 })),
        ("by an exponential", schedule(Schedule::Exponential { steps: 10, factor: 0.1 })),
        ("by a cosine", schedule(Schedule::Cosine { warmup: 3, steps: 12, floor: 0.01 })),
        ("by one cycle", schedule(Schedule::OneCycle { steps: 14, rise: 0.3, start: 0.04, end: 4e-6 })),
        ("by plateaus", schedule(plateau)),
        ("under penalties", with(&|r| r.penalties = vec![Penalty { l1: 0.01, l2: 0.02 }])),
        ("under a clipped norm", with(&|r| r.clip = Some(Clip::Norm(0.1)))),
        ("under clipped values", with(&|r| r.clip = Some(Clip::Value(0.01)))),
        ("in accumulated batches", with(&|r| r.accumulate = 3)),
        ("until it gains no more", with(&|r| r.early_stopping = Some(EarlyStopping { patience: 1, min_delta: 10.0 }))),
    ]
    .map(|(name, training)| (name.to_owned(), training))
    .into()
}

impl Training {
    fn run(&self, s: &Setting<'_>) -> Result<Mlp> {
        let engine = Kernels { backend: s.backend, par: s.par, precision: Default::default() };
        let mut trainer = self.trainer(&engine)?;
        trainer.fit(&self.data()?, &mut ())?;
        Ok(trainer.into_model())
    }

    fn trainer<'e>(&self, engine: &'e Kernels<'_>) -> Result<Trainer<'e>> {
        let &Self { dropout, norm, .. } = self;
        let hidden = |inputs, outputs| Dense { dropout, norm, ..Dense::new(inputs, outputs, self.hidden) };
        let last = Dense::new(17, CLASSES, nn::Activation::Identity);
        let model = Mlp::with_layers(vec![hidden(FEATURES, 40), hidden(40, 17), last], self.initialiser, 1)?;
        Ok(Trainer::new(model, self.recipe.clone(), engine)?)
    }

    /// A class for each sample, or the numbers 0 and 1 where the loss is one of numbers.
    fn data(&self) -> Result<Dataset> {
        let samples = 200;
        let features: Vec<f32> = numbers(20, samples * FEATURES);
        let best = |x: &[f32]| (0..CLASSES).max_by(|&i, &j| x[i].total_cmp(&x[j])).unwrap_or(0);
        let classes = features.chunks(FEATURES).map(best);
        let targets = match self.recipe.loss {
            Loss::CrossEntropy { .. } => Targets::Classes(classes.map(|c| c as u32).collect()),
            _ => {
                let one_hot = classes.flat_map(|c| (0..CLASSES).map(move |i| if i == c { 1.0 } else { 0.0 }));
                Targets::Values { values: one_hot.collect(), width: CLASSES }
            }
        };
        Ok(Dataset::from_numbers(features, FEATURES, targets)?)
    }
}

/// A training that is saved in the middle, read back and brought to its end; the file of its model, and what that
/// predicts.
fn save_and_load(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let file = env::temp_dir().join(format!("fingerprint-{}.safetensors", process::id()));
    let result = saved_and_loaded(s, &file, hash);
    // It may never have come into being.
    let _ = fs::remove_file(&file);
    result
}

fn saved_and_loaded(s: &Setting<'_>, file: &Path, hash: &mut Hash) -> Result<()> {
    let (training, engine) =
        (Training::default(), Kernels { backend: s.backend, par: s.par, precision: Default::default() });
    let data = training.data()?;
    let mut first = training.trainer(&engine)?;
    first.fit(&data, &mut Once)?;
    first.save(file)?;
    let mut second = Trainer::resume(file, &engine)?;
    second.fit(&data, &mut ())?;
    second.model().save(file)?;
    let bytes = fs::read(file).map_err(|source| Error::Read { path: file.into(), source })?;
    hash.0.update(bytes);
    let model = Mlp::load(file)?;
    hash.model(&model);
    hash.f32s(&model.probabilities(&engine, &data)?);
    Ok(())
}

/// What the forms of a model for service predict.
fn deployed(s: &Setting<'_>, hash: &mut Hash) -> Result<()> {
    let training = Training::default();
    let (model, data) = (training.run(s)?, training.data()?);
    let samples = data.numbers().unwrap_or_default();
    let mut out = vec![0.0; data.len() * CLASSES];
    Predictor::on(s.backend, &model)?.run(samples, &mut out)?;
    hash.f32s(&out);
    let small = Quantized::new(&model, &data, Calibration::Percentile(0.01))?;
    small.run(samples, &mut out)?;
    hash.f32s(&out);
    hash.model(&prune(&model, 0.7, Scope::PerLayer)?);
    Ok(())
}

/// Breaks a training off after its first epoch.
struct Once;

impl nn::Observer for Once {
    fn on_epoch(&mut self, _: &nn::EpochEnd) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Break(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        assert!(differences("here", "a  x\nb  y\n", "a  x\nb  y\n").is_empty());
        let found = differences("here", "a  x\nb  y\n", "a  x\nc  y\n");
        assert_eq!(found, ["here: expected b  y", "here: found    c  y"]);
    }

    #[test]
    fn nans_are_alike_and_strata_are_all_met() {
        let hashed = |x: f32| {
            let mut hash = Hash(Sha256::new());
            hash.f32s(&[x]);
            hash.0.finalize()
        };
        assert_eq!(hashed(f32::from_bits(0xFFC0_0001)), hashed(f32::NAN));
        assert_ne!(hashed(-0.0), hashed(0.0));
        let all = stratified(1 << 12);
        assert!(all.iter().enumerate().all(|(i, x)| x.to_bits() >> 20 == i as u32));
    }

    #[test]
    fn block_sizes_are_two_numbers() {
        assert_eq!(blocks("256x64"), Ok(Blocking { kc: 256, nc: 64 }));
        for wrong in ["", "256", "x", "0x1", "1x-1", "1x2x3"] {
            assert!(blocks(wrong).is_err(), "{wrong}");
        }
    }
}
