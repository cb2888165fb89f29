//! `harness gemm`: matrix products in depth, against other libraries: single shapes, the table of references, sweeps,
//! random shapes.

use super::{json, parse, rivals};
use crate::case::{self, Case, Comparison, Measured, Product, layout};
use crate::console::Console;
use crate::contender::Contender;
use crate::error::{Error, Result};
use crate::machine;
use crate::measure::{self, Cache, Plan, Samples};
use crate::number::Number;
use crate::peak::Roofline;
use crate::record::{CaseRecord, Entry, Head};
use crate::report::{NONE, Table, counted, percent, short};
use crate::stats::{Estimate, geometric_mean};
use clap::{ArgGroup, ValueEnum, value_parser};
use kernels::{Backend, Gemm, Layout, Precision, Team};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::any::type_name;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

const HELP: &str = "\
Examples:
  harness gemm 512 512 512 --rows avx512,avx2
  harness gemm 2048 2048 2048 --precision f32-amx,bf16x3,bf16
  harness gemm --table --peers                 (built with --features peers)
  harness gemm --table --blas libopenblas.so.0 --blas /opt/mkl/libmkl_rt.so
  harness gemm --sweep 4..512 --time 0.05 --threads 2
  harness gemm --random 200 --time 0.05 --peers

C libraries take the number of threads from the environment. Compare like with like:
  MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 taskset -c 1 harness gemm ..
  MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 KMP_AFFINITY=disabled KMP_BLOCKTIME=20 \\
    harness gemm --threads 2 ..
KMP_AFFINITY keeps OpenMP from pinning the thread that calls it. MKL is always loaded last. With
more than one thread each sample waits until the threads of the last contender sleep.";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP, group = ArgGroup::new("cases").required(true))]
pub struct Args {
    /// Sizes, three for each product of an M x K and a K x N matrix
    #[arg(value_name = "M K N", group = "cases", value_parser = value_parser!(u32).range(1..=1 << 24))]
    sizes: Vec<u32>,
    /// Shapes of many kinds: squares, layers, matrix-vector, skinny, deep; ends with geometric means
    #[arg(long, group = "cases")]
    table: bool,
    /// Squares of these sizes; those that look slower than their neighbours are measured again, in turn with these, and
    /// marked if they are
    #[arg(long, value_name = "FROM..TO[:STEP]", group = "cases")]
    sweep: Option<Sweep>,
    /// So many products of random sizes, up to MAX (300), and layouts, the same in each run; those that are slowest
    /// beside the best peer come first
    #[arg(long, value_name = "COUNT[:MAX]", group = "cases")]
    random: Option<Random>,
    /// Type of the elements
    #[arg(long = "type", value_enum, default_value_t = Type::F32)]
    element: Type,
    /// A is stored as its transpose
    #[arg(long)]
    transpose_a: bool,
    /// B is stored as its transpose
    #[arg(long)]
    transpose_b: bool,
    /// Rows of the kernels' table [default: the one that the CPU or KERNELS_ISA chooses]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = parse::row)]
    rows: Vec<&'static Backend>,
    /// Also run the rows in these precisions (f32 only): f32-amx, bf16x3, bf16
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = parse::precision)]
    precision: Vec<Precision>,
    /// Also run the rows on so many threads; Rust peers then use as many
    #[arg(long, value_name = "N", default_value = "1", value_parser = value_parser!(u32).range(1..=1024))]
    threads: u32,
    #[command(flatten)]
    rivals: rivals::Args,
    /// The operands lie in memory before each call, not in a cache
    #[arg(long, conflicts_with = "threads")]
    cold: bool,
    /// Time for the samples of one product
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse::seconds)]
    time: Duration,
    #[command(flatten)]
    json: json::Args,
}

/// The type of the elements.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Type {
    F32,
    F64,
}

/// The sizes of a sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sweep {
    from: usize,
    to: usize,
    step: usize,
}

impl FromStr for Sweep {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (range, step) = text.split_once(':').unwrap_or((text, "1"));
        let parsed = range.split_once("..").and_then(|(from, to)| {
            Some(Self { from: from.parse().ok()?, to: to.parse().ok()?, step: step.parse().ok()? })
        });
        parsed
            // The largest square of 2^37 multiplications.
            .filter(|sweep| 0 < sweep.from && sweep.from <= sweep.to && sweep.to <= 5160 && 0 < sweep.step)
            .ok_or("FROM..TO[:STEP] is needed, such as 16..512:16, of sizes up to 5160")
    }
}

/// Random products.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Random {
    count: usize,
    /// The largest size.
    most: usize,
}

impl FromStr for Random {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (count, most) = text.split_once(':').unwrap_or((text, "300"));
        let parsed = count.parse().ok().zip(most.parse().ok()).map(|(count, most)| Self { count, most });
        parsed
            .filter(|random| (1..=100_000).contains(&random.count) && (2..=5160).contains(&random.most))
            .ok_or("COUNT[:MAX] is needed, such as 200:300, of sizes up to 5160")
    }
}

impl Random {
    /// Sizes from 2 on, as many between 2 and 4 as between 4 and 8.
    fn shapes(self) -> impl Iterator<Item = Shape> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (0..self.count).map(move |_| {
            let sizes =
                [(); 3].map(|()| (2.0 * (self.most as f64 / 2.0).powf(rng.random_range(0.0..=1.0))).round() as usize);
            (sizes, [(); 2].map(|()| rng.random_range(0..2) == 1))
        })
    }
}

/// A shape, and whether A and B are stored transposed.
type Shape = ([usize; 3], [bool; 2]);

/// Squares, the layers of the reference model and their gradients, matrix-vector, deep, flat, narrow.
const TABLE: [Shape; 16] = {
    const PLAIN: [bool; 2] = [false, false];
    [
        ([8, 8, 8], PLAIN),
        ([16, 16, 16], PLAIN),
        ([64, 64, 64], PLAIN),
        ([256, 256, 256], PLAIN),
        ([512, 512, 512], PLAIN),
        ([1024, 1024, 1024], PLAIN),
        ([32, 784, 128], PLAIN),
        ([784, 32, 128], [true, false]),
        ([32, 128, 10], PLAIN),
        ([1, 784, 128], PLAIN),
        ([1024, 1024, 1], PLAIN),
        ([8, 2000, 8], PLAIN),
        ([2000, 8, 2000], PLAIN),
        ([64, 4096, 64], PLAIN),
        ([512, 512, 10], PLAIN),
        ([128, 784, 512], PLAIN),
    ]
};

impl Args {
    fn shapes(&self) -> Result<Vec<Shape>> {
        let named: Vec<Shape> = match (&self.sweep, &self.random, self.table) {
            (Some(sweep), ..) => (sweep.from..=sweep.to).step_by(sweep.step).map(|n| ([n; 3], [false; 2])).collect(),
            (_, Some(random), _) => random.shapes().collect(),
            (.., true) => TABLE.to_vec(),
            (.., false) => {
                let (shapes, rest) = self.sizes.as_chunks::<3>();
                if !rest.is_empty() {
                    return Err(Error::Usage("a product has three sizes: M K N"));
                }
                shapes.iter().map(|shape| (shape.map(|size| size as usize), [false; 2])).collect()
            }
        };
        // Beyond this the verification takes minutes and gigabytes.
        let product = |sizes: &[usize]| sizes.iter().map(|&size| size as f64).product::<f64>();
        let too_large = |&([m, k, n], _): &Shape| {
            product(&[m, k, n]) > 37f64.exp2() || [[m, k], [k, n], [m, n]].iter().any(|x| product(x) > 27f64.exp2())
        };
        if named.iter().any(too_large) {
            return Err(Error::Usage("a product is too large: at most 2^27 elements a matrix, 2^37 multiplications"));
        }
        let turned = |(shape, [a, b]): Shape| (shape, [a || self.transpose_a, b || self.transpose_b]);
        Ok(named.into_iter().map(turned).collect())
    }

    fn contenders(&self) -> Result<Vec<Contender>> {
        let threads = self.threads as usize;
        let rows = match self.rows.as_slice() {
            [] => vec![Backend::active()?],
            rows => rows.to_vec(),
        };
        let team = |&row| (threads > 1).then_some(Contender::Team(row, threads));
        let mut contenders: Vec<Contender> =
            rows.iter().flat_map(|row| [Contender::Row(row)].into_iter().chain(team(row))).collect();
        for &precision in self.precision.iter().filter(|&&precision| precision != Precision::F32) {
            if !matches!(self.element, Type::F32) {
                return Err(Error::Usage("--precision is for products of f32"));
            }
            // Unless told otherwise, a row that has a tile unit, if there is one.
            let rows = if self.rows.is_empty() { &[Backend::active_for(precision)?][..] } else { &rows };
            let precise = |&row, threads| Contender::Precise(row, precision, threads);
            let team = |row| (threads > 1).then(|| precise(row, threads));
            contenders.extend(rows.iter().flat_map(|row| [precise(row, 1)].into_iter().chain(team(row))));
        }
        self.rivals.join(contenders, threads)
    }

    /// Whether there are too many products to tell more than a line of each.
    fn brief(&self) -> bool {
        self.sweep.is_some() || self.random.is_some()
    }

    fn cache(&self) -> Cache {
        if self.cold { Cache::Cold } else { Cache::Warm }
    }

    fn plan(&self) -> Plan {
        let plan = Plan { cache: self.cache(), ..Plan::lasting(self.time) };
        if self.threads == 1 {
            return plan;
        }
        // Time goes into pauses then, so samples are longer; OpenMP's threads spin longest.
        Plan { min_rounds: 9, min_sample: Duration::from_millis(1), rest: Duration::from_millis(40), ..plan }
    }
}

/// Verifies, measures, prints; fails if a result is wrong.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    match args.element {
        Type::F32 => measure_all::<f32>(args, console),
        Type::F64 => measure_all::<f64>(args, console),
    }
}

fn measure_all<T: Number>(args: &Args, console: &mut Console) -> Result<()> {
    let shapes = args.shapes()?;
    args.json.prepare(args.rivals.files(), [], console)?;
    let contenders = args.contenders()?;
    let cpu = machine::cpu().unwrap_or_else(|| "unknown CPU".to_owned());
    console.line(format_args!("{cpu}, {}; {}\n{LEGEND}", counted(machine::cores(), "core"), type_name::<T>()))?;

    let rows = rows_of(&contenders);
    let mut record = Record::new(type_name::<T>(), &contenders);
    let mut failures = Vec::new();
    console.begin(shapes.len() as u64);
    console.status("the speed limits");
    let roofline = match rows.first() {
        Some(row) if size_of::<T>() == size_of::<f32>() => Some(Roofline::measure(row, LIMIT_TIME)),
        _ => None,
    };
    for shape in shapes {
        let ([m, k, n], transposed) = shape;
        console.status(format_args!("{m}x{k}x{n}"));
        let case = Product::<T>::stored(m, k, n, transposed);
        let comparison = case::compete(&case, &contenders, &rows, &args.plan());
        failures.extend(comparison.wrong.iter().map(|(who, wrong)| format!("{case}, {who}: {wrong}")));
        let mut result =
            ShapeRecord::new(&case, shape, args.cache(), &comparison, roofline.as_ref(), &record.opponents);
        if !args.brief() {
            for explanation in explanations::<T>(&contenders, shape)? {
                console.print(format_args!("\n{explanation}\n"))?;
            }
            console.print(format_args!("\n{}", result.table(&record.opponents)))?;
            if let Some(roofline) = &roofline {
                console.line(result.position(roofline))?;
            }
        }
        if let (false, false, Some(row)) = (args.table, args.brief(), rows.first()) {
            let packing = Packing::measure(&case, row, &Plan { budget: args.time / 4, ..args.plan() })?;
            console.line(format_args!("{}: {packing}", row.name()))?;
            result.packing = Some(packing);
        }
        record.cases.push(result);
        console.step();
    }
    console.end();
    if args.random.is_some() {
        record.cases.sort_by(|a, b| a.over_best().total_cmp(&b.over_best()));
    }
    if record.cases.len() > 1 {
        for &who in contenders.iter().filter(|who| who.is_row()) {
            let row = who.to_string();
            console.print(format_args!("\n{}", record.summary(&row)))?;
            if args.sweep.is_some() {
                let sizes = record.dips(&row);
                let mut dips = Vec::new();
                console.begin(sizes.len() as u64);
                for n in sizes {
                    console.status(format_args!("{n} again, in turn with its neighbours"));
                    dips.extend(Dip::confirmed::<T>(n, who, args));
                    console.step();
                }
                console.end();
                console.line(describe(&dips))?;
            }
        }
    }
    record.roofline = roofline;
    args.json.write(&record, console)?;
    if failures.is_empty() { Ok(()) } else { Err(Error::Checks { failures }) }
}

/// The rows of the kernels' table among the contenders, each once, whatever its precisions and threads.
fn rows_of(contenders: &[Contender]) -> Vec<&'static Backend> {
    let mut rows: Vec<&'static Backend> = Vec::new();
    for row in contenders.iter().filter_map(Contender::backend) {
        if rows.iter().all(|other| other.name() != row.name()) {
            rows.push(row);
        }
    }
    rows
}

/// For arithmetic and for each level of the caches.
const LIMIT_TIME: Duration = Duration::from_millis(50);

const LEGEND: &str = "
GFLOP/s: median; 95%: its bootstrap interval; ±: median deviation; peak: share of the FMA peak, which is sampled in the
same rounds; error: the largest |error| / (|A||B|), in units of the rounding error; x: times as fast as that contender,
the median of the ratios within rounds, = where that is no difference.";

/// How the rows would compute it, as they tell it.
fn explanations<T: Number>(
    contenders: &[Contender],
    ([m, k, n], transposed): Shape,
) -> Result<Vec<kernels::Explanation>> {
    let rows = contenders.iter().filter_map(|who| Some((who.backend()?, who.precision(), who.threads())));
    rows.map(|(row, precision, threads)| {
        let chosen = Backend::active().is_ok_and(|active| std::ptr::eq(row, active));
        let gemm = if chosen { Gemm::<T>::new() } else { Gemm::new().backend(row) };
        let gemm = T::in_precision(gemm, precision).unwrap_or(gemm);
        let (a, b) = (layout(m, k, transposed[0]), layout(k, n, transposed[1]));
        Ok(gemm.par(&Team::new(threads)).explain_layouts(a, b, Layout::row_major(m, n))?)
    })
    .collect()
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    /// Type of the elements.
    element: &'static str,
    /// The rows of the kernels' table that were measured, alone and as teams.
    rows: Vec<String>,
    /// Those whom the rows are compared with: other rows, then peers.
    opponents: Vec<String>,
    roofline: Option<Roofline>,
    cases: Vec<ShapeRecord>,
}

#[derive(Serialize)]
struct ShapeRecord {
    m: usize,
    k: usize,
    n: usize,
    a_transposed: bool,
    b_transposed: bool,
    /// The fastest of the peers.
    best_peer: Option<String>,
    /// Packing B apart from multiplying, by the first row; for single shapes.
    packing: Option<Packing>,
    #[serde(flatten)]
    case: CaseRecord,
}

/// Packing B apart from multiplying, seconds.
#[derive(Serialize)]
struct Packing {
    /// The whole product from views, packed or not as its route has it.
    whole: Estimate,
    /// With a B that was packed before.
    with_packed_b: Estimate,
    /// Packing B, memory for it included.
    pack_b: Estimate,
}

impl Packing {
    fn measure<T: Number>(case: &Product<T>, row: &'static Backend, plan: &Plan) -> Result<Self> {
        let samples = measure::interleaved(plan, &mut case.packing(row)?);
        let [whole, with_packed_b, pack_b] = [0, 1, 2].map(|i| samples[i].estimate());
        Ok(Self { whole, with_packed_b, pack_b })
    }
}

impl std::fmt::Display for Packing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = |x: &Estimate| short(x.median * 1e6);
        let Self { whole, with_packed_b, pack_b } = self;
        let share = percent(pack_b.median / whole.median);
        write!(
            f,
            "{} us; with a B packed before {} us; packing B {} us ({share})",
            us(whole),
            us(with_packed_b),
            us(pack_b)
        )
    }
}

impl Record {
    fn new(element: &'static str, contenders: &[Contender]) -> Self {
        let rows: Vec<String> = contenders.iter().filter(|who| who.is_row()).map(ToString::to_string).collect();
        let alone = |who: &&Contender| rows.len() > 1 && matches!(who, Contender::Row(_) | Contender::Precise(.., 1));
        let opponents = contenders.iter().filter(|who| !who.is_row() || alone(who)).map(ToString::to_string);
        let opponents = opponents.collect();
        Self { head: Head::new("gemm"), element, rows, opponents, roofline: None, cases: Vec::new() }
    }

    /// A line for each case, then the geometric means of the ratios.
    fn summary(&self, row: &str) -> Table {
        let ratios: Vec<String> = self.opponents.iter().map(|name| format!("x {name}")).collect();
        let mut headings = vec![row, "GFLOP/s", "95%", "±", "peak", "error", "best peer", "x best"];
        headings.extend(ratios.iter().map(String::as_str));
        let mut table = Table::new(&headings);
        // For the best peer, then for each opponent.
        let mut columns = vec![Vec::new(); 1 + self.opponents.len()];
        for (shape, entry) in self.entries(row) {
            let others = || [shape.best_peer.as_ref()].into_iter().chain(self.opponents.iter().map(Some));
            let best = shape.best_peer.clone().unwrap_or_else(|| NONE.to_owned());
            let over = others().map(|name| name.map_or(NONE.to_owned(), |name| entry.over_cell(name)));
            table.row([shape.case.name.clone()].into_iter().chain(cells(entry)).chain([best]).chain(over));
            let medians = others().map(|name| Some(entry.over.get(name?)?.estimate.median));
            columns.iter_mut().zip(medians).for_each(|(column, median)| column.extend(median));
        }
        let means = columns.into_iter().map(geometric_mean);
        let blank = [""; 6].map(str::to_owned);
        let means = means.map(|mean| mean.map_or(NONE.to_owned(), |mean| format!("{mean:.2}")));
        table.row(["geometric mean".to_owned()].into_iter().chain(blank).chain(means));
        table
    }

    /// What the row did, case by case.
    fn entries(&self, row: &str) -> impl Iterator<Item = (&ShapeRecord, &Entry)> {
        self.cases.iter().filter_map(move |shape| Some((shape, shape.case.entry(row)?)))
    }

    /// Where a sweep does not look smooth.
    fn dips(&self, row: &str) -> Vec<usize> {
        // Shares of the peak, as clocks move between one case and the next.
        let points: BTreeMap<usize, f64> =
            self.entries(row).filter_map(|(shape, entry)| Some((shape.n, entry.peak?))).collect();
        dips(&points)
    }
}

/// How far the neighbours are that a size is compared with.
const DISTANCE: usize = 16;
/// How far below them it may be.
const DIP: f64 = 0.15;

/// The sizes that look slower than their neighbours.
fn dips(speeds: &BTreeMap<usize, f64>) -> Vec<usize> {
    let neighbour = |n: Option<usize>| speeds.get(&n?);
    let dip = |(&n, &speed): (&usize, &f64)| {
        let neighbours = [neighbour(n.checked_sub(DISTANCE))?, neighbour(n.checked_add(DISTANCE))?];
        (below(speed, neighbours.map(|&speed| speed)) > DIP).then_some(n)
    };
    speeds.iter().filter_map(dip).collect()
}

/// By what share a speed is below the mean of its neighbours.
fn below(speed: f64, neighbours: [f64; 2]) -> f64 {
    1.0 - 2.0 * speed / (neighbours[0] + neighbours[1])
}

/// A size that is slower than its neighbours, and by what share.
struct Dip {
    n: usize,
    depth: f64,
}

impl Dip {
    /// One that is there, too, when the three sizes take turns: else a clock that moved, or another program on the core,
    /// looks like one.
    fn confirmed<T: Number>(n: usize, who: Contender, args: &Args) -> Option<Self> {
        let transposed = [args.transpose_a, args.transpose_b];
        let cases = [n - DISTANCE, n, n + DISTANCE].map(|n| Product::<T>::stored(n, n, n, transposed));
        Self::among(n, cases.each_ref().map(Case::operations), &case::alternate(&cases, who, &args.plan()))
    }

    /// One among samples of the size before, this one and the next, judged within each round.
    fn among(n: usize, operations: [f64; 3], samples: &[Samples]) -> Option<Self> {
        let [less, this, more] = samples else { return None };
        let depth = |((less, this), more): ((&f64, &f64), &f64)| {
            below(operations[1] / this, [operations[0] / less, operations[2] / more])
        };
        let depths: Vec<f64> = less.0.iter().zip(&this.0).zip(&more.0).map(depth).collect();
        let depth = Estimate::of(&depths).median;
        (depth > DIP).then_some(Self { n, depth })
    }
}

/// Where a sweep is not smooth.
fn describe(dips: &[Dip]) -> String {
    let what = format!("more than {} below the mean of their neighbours at {DISTANCE} less and more", percent(DIP));
    let list: Vec<String> = dips.iter().map(|dip| format!("{} ({})", dip.n, percent(dip.depth))).collect();
    if list.is_empty() { format!("No sizes are {what}.") } else { format!("Sizes {what}: {}", list.join(", ")) }
}

impl ShapeRecord {
    fn new<T: Number>(
        case: &Product<T>,
        shape: Shape,
        cache: Cache,
        comparison: &Comparison,
        roofline: Option<&Roofline>,
        opponents: &[String],
    ) -> Self {
        let ([m, k, n], [a_transposed, b_transposed]) = shape;
        let seconds = |entry: &&Measured| entry.samples.estimate().median;
        let peers = comparison.measured.iter().filter(|entry| !entry.who.is_row());
        let best_peer = peers.min_by(|a, b| seconds(a).total_cmp(&seconds(b))).map(|entry| entry.who.to_string());
        let compared =
            |entry: &Measured, other: &Measured| entry.who.is_row() && opponents.contains(&other.who.to_string());
        let case = CaseRecord::new(case, cache, comparison, roofline, compared);
        Self { m, k, n, a_transposed, b_transposed, best_peer, packing: None, case }
    }

    /// How many times as fast as the best peer the first row is; infinity without peers.
    fn over_best(&self) -> f64 {
        let over = |entry: &Entry| Some(entry.over.get(self.best_peer.as_ref()?)?.estimate.median);
        self.case.results.first().and_then(over).unwrap_or(f64::INFINITY)
    }

    /// A line for each contender.
    fn table(&self, opponents: &[String]) -> Table {
        let ratios: Vec<String> = opponents.iter().map(|name| format!("x {name}")).collect();
        let mut headings = vec![self.case.name.as_str(), "GFLOP/s", "95%", "±", "peak", "error"];
        headings.extend(ratios.iter().map(String::as_str));
        let mut table = Table::new(&headings);
        for entry in &self.case.results {
            let over = opponents.iter().map(|name| entry.over_cell(name));
            table.row([entry.name.clone()].into_iter().chain(cells(entry)).chain(over));
        }
        table
    }

    /// Where the product stands under the roofline, and how much of that the row reaches.
    fn position(&self, roofline: &Roofline) -> String {
        let share = self.case.results.iter().find_map(|entry| Some((entry.name.clone(), entry.roofline?)));
        let share = share.map_or(String::new(), |(name, share)| format!("; {name} reaches {}", percent(share)));
        format!("{}; {}{share}", self.case.noise(), roofline.describe(&self.case))
    }
}

/// Speed and its interval, spread, share of the peak, error.
fn cells(entry: &Entry) -> impl Iterator<Item = String> {
    let [error, ..] = entry.error_cells();
    entry.speed_cells().into_iter().chain([entry.peak.map_or(NONE.to_owned(), percent), error])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_once_whatever_its_threads() {
        let rows: Vec<&'static Backend> = Backend::supported().collect();
        let teams = rows.iter().map(|row| Contender::Team(row, 2));
        let contenders: Vec<Contender> = rows.iter().map(|row| Contender::Row(row)).chain(teams).collect();
        let names = |rows: &[&'static Backend]| rows.iter().map(|row| row.name()).collect::<Vec<_>>();
        assert!(rows.len() > 1 && names(&rows_of(&contenders)) == names(&rows), "{:?}", names(&rows_of(&contenders)));
    }

    #[test]
    fn sweeps_are_read() {
        assert_eq!("4..512".parse(), Ok(Sweep { from: 4, to: 512, step: 1 }));
        assert_eq!("16..16:8".parse(), Ok(Sweep { from: 16, to: 16, step: 8 }));
        for wrong in ["", "4", "4..", "0..4", "5..4", "4..8:0", "4..8:x", "4..9999999999"] {
            assert!(wrong.parse::<Sweep>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn random_products_are_read_and_drawn() {
        assert_eq!("200".parse(), Ok(Random { count: 200, most: 300 }));
        assert_eq!("1:2".parse(), Ok(Random { count: 1, most: 2 }));
        for wrong in ["", "0", "x", "10:", "10:1", "10:5161", "100001", "-1"] {
            assert!(wrong.parse::<Random>().is_err(), "{wrong}");
        }
        let random = Random { count: 400, most: 64 };
        let shapes: Vec<Shape> = random.shapes().collect();
        assert!(shapes.iter().copied().eq(random.shapes()), "the same in each run");
        let sizes = || shapes.iter().flat_map(|(sizes, _)| *sizes);
        assert_eq!((sizes().min(), sizes().max()), (Some(2), Some(64)));
        // Half of them below the geometric mean of the bounds, which is 11.
        let small = sizes().filter(|&size| size <= 11).count();
        assert!((550..650).contains(&small), "{small} of 1200");
        for layout in [[false, false], [false, true], [true, false], [true, true]] {
            let count = shapes.iter().filter(|shape| shape.1 == layout).count();
            assert!((70..130).contains(&count), "{layout:?}: {count} of 400");
        }
    }

    #[test]
    fn dips_are_found_where_both_neighbours_are_known() {
        let speeds = [(1, 0.1), (16, 1.0), (17, 1.0), (32, 0.8), (33, 0.9), (48, 1.0), (49, 1.0)].into_iter().collect();
        assert_eq!(dips(&speeds), [32]);
    }

    #[test]
    fn a_dip_is_one_within_rounds() {
        // The machine halves its clock in the second round.
        let samples = |seconds: f64| Samples(vec![seconds, 2.0 * seconds, seconds]);
        let among = |this| Dip::among(32, [1.0, 2.0, 3.0], &[samples(1.0), samples(this), samples(3.0)]);
        assert!(among(2.3).is_none());
        let dip = among(2.5).expect("a fifth below");
        assert!(dip.n == 32 && (dip.depth - 0.2).abs() < 1e-12, "{}", dip.depth);
        assert!(Dip::among(32, [1.0; 3], &[]).is_none());
    }
}
