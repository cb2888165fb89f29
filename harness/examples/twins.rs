//! How often identical code is called different on this machine: `cargo run --release -p harness --example twins`.
//!
//! Every comparison is of a row of the kernels' table with itself, over products of several sizes. At most 1 in 20 may
//! be called different.

#![forbid(unsafe_code)]

use harness::case::{self, Product};
use harness::contender::Contender;
use harness::measure::Plan;
use harness::stats::{Verdict, verdict};
use kernels::Backend;
use std::time::Duration;

fn main() -> Result<(), kernels::Error> {
    const COMPARISONS: usize = 200;
    let row = Contender::Row(Backend::active()?);
    let sizes = [[16, 16, 16], [32, 128, 10], [64, 64, 64], [32, 784, 128], [160, 160, 160]];
    let cases = sizes.map(|[m, k, n]| Product::<f32>::new(m, k, n));
    let (mut different, mut floors, mut ratios) = (0, Vec::new(), Vec::new());
    for i in 0..COMPARISONS {
        let plan = Plan { seed: i as u64, ..Plan::lasting(Duration::from_millis(250)) };
        let comparison = case::compete(&cases[i % cases.len()], &[row, row], &[], &plan);
        let [one, other] = &comparison.measured[..] else { panic!("a wrong result: {:?}", comparison.wrong[0].1) };
        let ratio = one.samples.speed_up_over(&other.samples);
        different += usize::from(verdict(&ratio, comparison.noise_floor()) != Verdict::NoDifference);
        floors.push(comparison.noise_floor().exp_m1());
        ratios.push(ratio.median.ln().abs().exp_m1());
    }
    let median = |mut x: Vec<f64>| {
        x.sort_by(f64::total_cmp);
        x[x.len() / 2]
    };
    println!("{different} of {COMPARISONS} comparisons of identical code were called different");
    println!("median noise floor {:.2}%", 100.0 * median(floors));
    println!("median distance of the ratios from 1 {:.2}%", 100.0 * median(ratios));
    Ok(())
}
