//! Predictions a second, for `ci/speed.py`, which lets other libraries take turns: answers each line `BATCH SECONDS` on
//! standard input with the samples a second of that time, softmax included, and the first line with the peak of this
//! core.

use nn::{Mlp, Predictor};
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: speed MODEL")?;
    let predictor = Predictor::new(&Mlp::load(file)?)?;
    let backend = kernels::Backend::active()?;
    for line in stdin().lock().lines() {
        let line = line?;
        let (batch, seconds) = line.split_once(' ').ok_or("BATCH SECONDS are needed")?;
        let (batch, time): (usize, _) = (batch.parse()?, Duration::from_secs_f64(seconds.parse()?));
        let answer = if batch == 0 {
            let begin = Instant::now();
            let mut operations = 0;
            while begin.elapsed() < time {
                operations += backend.fma_peak_loop(10_000);
            }
            operations as f64 / begin.elapsed().as_secs_f64()
        } else {
            let x: Vec<f32> = (0..batch * predictor.inputs()).map(|i| (i % 251) as f32 / 251.0).collect();
            let mut p = vec![0.0; batch * predictor.outputs()];
            predictor.probabilities(&x, &mut p)?;
            let (begin, mut done) = (Instant::now(), 0);
            while begin.elapsed() < time {
                // The clock costs as much as a small model.
                for _ in 0..1024_usize.div_ceil(batch) {
                    predictor.probabilities(&x, &mut p)?;
                    done += batch;
                }
            }
            done as f64 / begin.elapsed().as_secs_f64()
        };
        println!("{answer}");
        stdout().flush()?;
    }
    Ok(())
}
