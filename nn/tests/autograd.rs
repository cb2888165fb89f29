//! Whole trainings against a scalar reverse-mode differentiation in `f64`, which shares no code with the crate.

use nn::{Activation, Dataset, Initialiser, Kernels, Loss, Mlp, Penalty, Recipe, Result, Sgd, Targets, Trainer};

/// A number on a tape.
#[derive(Clone, Copy)]
struct Var(usize);

/// Every number, with the numbers that it was made of and the derivative by each.
#[derive(Default)]
struct Tape(Vec<(f64, Vec<(Var, f64)>)>);

impl Tape {
    fn push(&mut self, value: f64, from: Vec<(Var, f64)>) -> Var {
        self.0.push((value, from));
        Var(self.0.len() - 1)
    }
    fn value(&self, x: Var) -> f64 {
        self.0[x.0].0
    }
    fn constant(&mut self, value: f64) -> Var {
        self.push(value, vec![])
    }
    fn add(&mut self, x: Var, y: Var) -> Var {
        self.push(self.value(x) + self.value(y), vec![(x, 1.0), (y, 1.0)])
    }
    fn mul(&mut self, x: Var, y: Var) -> Var {
        let (a, b) = (self.value(x), self.value(y));
        self.push(a * b, vec![(x, b), (y, a)])
    }
    fn scale(&mut self, x: Var, by: f64) -> Var {
        self.push(self.value(x) * by, vec![(x, by)])
    }
    fn map(&mut self, x: Var, f: fn(f64) -> f64, slope: fn(f64) -> f64) -> Var {
        let a = self.value(x);
        self.push(f(a), vec![(x, slope(a))])
    }
    fn sum(&mut self, x: &[Var]) -> Var {
        self.push(x.iter().map(|&x| self.value(x)).sum(), x.iter().map(|&x| (x, 1.0)).collect())
    }
    /// The derivatives of `y` by everything before it.
    fn backward(&self, y: Var) -> Vec<f64> {
        let mut slopes = vec![0.0; self.0.len()];
        slopes[y.0] = 1.0;
        for i in (0..=y.0).rev() {
            for &(from, slope) in &self.0[i].1 {
                slopes[from.0] += slope * slopes[i];
            }
        }
        slopes
    }
}

/// The loss of all samples, and its gradient: a network with one hidden layer of tanh or ReLU.
fn gradient(
    sizes: [usize; 3],
    parameters: &[f64],
    relu: bool,
    x: &[f32],
    targets: &Targets,
    l2: f64,
) -> (f64, Vec<f64>) {
    let mut tape = Tape::default();
    let p: Vec<Var> = parameters.iter().map(|&p| tape.constant(p)).collect();
    let (mut terms, mut at, samples) = (Vec::new(), 0, x.len() / sizes[0]);
    let mut values: Vec<Var> = x.iter().map(|&x| tape.constant(x.into())).collect();
    for (l, pair) in sizes.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let (w, b) = (&p[at..][..inputs * outputs], &p[at + inputs * outputs..][..outputs]);
        at += (inputs + 1) * outputs;
        for &w in w {
            let square = tape.mul(w, w);
            terms.push(tape.scale(square, l2));
        }
        let mut next = Vec::new();
        for x in values.chunks_exact(inputs) {
            for j in 0..outputs {
                let products: Vec<Var> = (0..inputs).map(|i| tape.mul(x[i], w[i * outputs + j])).collect();
                let z = tape.sum(&products);
                let z = tape.add(z, b[j]);
                next.push(match (l, relu) {
                    (0, true) => tape.map(z, |z| z.max(0.0), |z| if z > 0.0 { 1.0 } else { 0.0 }),
                    (0, false) => tape.map(z, f64::tanh, |z| 1.0 - z.tanh().powi(2)),
                    _ => z,
                });
            }
        }
        values = next;
    }
    match targets {
        Targets::Values { values: targets, .. } => {
            for (&y, &t) in values.iter().zip(targets) {
                let minus = tape.constant(-f64::from(t));
                let r = tape.add(y, minus);
                let square = tape.mul(r, r);
                terms.push(tape.scale(square, 1.0 / values.len() as f64));
            }
        }
        Targets::Classes(labels) => {
            for (z, &label) in values.chunks_exact(sizes[2]).zip(labels) {
                let powers: Vec<Var> = z.iter().map(|&z| tape.map(z, f64::exp, f64::exp)).collect();
                let sum = tape.sum(&powers);
                let log = tape.map(sum, f64::ln, f64::recip);
                terms.push(tape.scale(log, 1.0 / samples as f64));
                terms.push(tape.scale(z[label as usize], -1.0 / samples as f64));
            }
        }
    }
    let loss = tape.sum(&terms);
    let slopes = tape.backward(loss);
    (tape.value(loss), p.iter().map(|p| slopes[p.0]).collect())
}

#[test]
fn twenty_steps_are_those_of_the_tape() -> Result<()> {
    const SIZES: [usize; 3] = [3, 7, 2];
    let engine = Kernels::active()?;
    let x: Vec<f32> = (0..30).map(|i| (i as f32 * 0.754_877_7).fract() * 2.0 - 1.0).collect();
    let values = (0..20).map(|i| (i as f32 * 0.569_840_3).fract()).collect();
    for (relu, loss, targets) in [
        (false, Loss::MeanSquared, Targets::Values { values, width: 2 }),
        (true, Loss::default(), Targets::Classes((0..10).map(|i| i % 3 % 2).collect())),
    ] {
        let hidden = if relu { Activation::Relu } else { Activation::Tanh };
        let model = Mlp::with(&SIZES, hidden, Initialiser::HeNormal, 5)?;
        let mut parameters: Vec<f64> = model.parameters().flatten().map(|&p| p.into()).collect();
        // All samples in each step, so that their order is nothing to the tape.
        let recipe = Recipe {
            epochs: 20,
            loss,
            penalties: vec![Penalty { l1: 0.0, l2: 0.01 }],
            optimiser: Sgd { learning_rate: 0.1, momentum: 0.5, nesterov: false }.into(),
            ..Recipe::default()
        };
        let data = Dataset::from_numbers(x.clone(), SIZES[0], targets.clone())?;
        let mut trainer = Trainer::new(model, recipe, &engine)?;
        let mut velocity = vec![0.0; parameters.len()];
        for end in trainer.fit(&data, &mut ())? {
            let (loss, gradient) = gradient(SIZES, &parameters, relu, &x, &targets, 0.01);
            assert!((end.metrics.loss - loss).abs() < 1e-5, "step {}: {} and {loss}", end.epoch, end.metrics.loss);
            for ((p, v), g) in parameters.iter_mut().zip(&mut velocity).zip(gradient) {
                *v = 0.5 * *v - 0.1 * g;
                *p += *v;
            }
        }
        for (found, expected) in trainer.model().parameters().flatten().zip(&parameters) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} and {expected}");
        }
    }
    Ok(())
}
