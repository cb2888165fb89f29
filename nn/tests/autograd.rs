//! Whole trainings against a scalar reverse-mode differentiation in `f64`, which shares no code with the crate.

use nn::{
    Activation, Dataset, Dense, Initialiser, Kernels, Loss, Mlp, Norm, Penalty, Recipe, Result, Sgd, Targets, Trainer,
};

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
    /// `(x - mean) / √(variance + ε)` of each number of a group.
    fn normalise(&mut self, group: &[Var], epsilon: f64) -> Vec<Var> {
        let share = 1.0 / group.len() as f64;
        let sum = self.sum(group);
        let minus = self.scale(sum, -share);
        let centred: Vec<Var> = group.iter().map(|&x| self.add(x, minus)).collect();
        let squares: Vec<Var> = centred.iter().map(|&x| self.mul(x, x)).collect();
        let sum = self.sum(&squares);
        let (variance, epsilon) = (self.scale(sum, share), self.constant(epsilon));
        let sum = self.add(variance, epsilon);
        let inverse = self.map(sum, |x| x.sqrt().recip(), |x| -0.5 / (x * x.sqrt()));
        centred.into_iter().map(|x| self.mul(x, inverse)).collect()
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

/// The loss of all samples, and its gradient: layers of tanh, ReLU or nothing.
fn gradient(layers: &[Dense], parameters: &[f64], x: &[f32], targets: &Targets, l2: f64) -> (f64, Vec<f64>) {
    let mut tape = Tape::default();
    let p: Vec<Var> = parameters.iter().map(|&p| tape.constant(p)).collect();
    let (mut terms, mut rest, samples) = (Vec::new(), &p[..], x.len() / layers[0].inputs);
    let mut values: Vec<Var> = x.iter().map(|&x| tape.constant(x.into())).collect();
    for layer in layers {
        let (own, after) = rest.split_at(layer.parameter_count());
        let ((w, own), n) = (own.split_at(layer.weight_count()), layer.outputs);
        rest = after;
        for &w in w {
            let square = tape.mul(w, w);
            terms.push(tape.scale(square, l2));
        }
        let mut sums = Vec::new();
        for x in values.chunks_exact(layer.inputs) {
            for j in 0..n {
                let products: Vec<Var> = (0..x.len()).map(|i| tape.mul(x[i], w[i * n + j])).collect();
                let z = tape.sum(&products);
                sums.push(tape.add(z, own[j]));
            }
        }
        match layer.norm {
            Norm::Batch { epsilon, .. } => {
                for j in 0..n {
                    let group: Vec<Var> = sums.iter().skip(j).step_by(n).copied().collect();
                    let group = tape.normalise(&group, epsilon.into());
                    group.into_iter().enumerate().for_each(|(i, x)| sums[i * n + j] = x);
                }
            }
            Norm::Layer { epsilon } => {
                let rows: Vec<Vec<Var>> = sums.chunks_exact(n).map(|x| tape.normalise(x, epsilon.into())).collect();
                sums = rows.concat();
            }
            _ => {}
        }
        for (i, z) in sums.iter_mut().enumerate() {
            if layer.norm != Norm::None {
                let scaled = tape.mul(*z, own[n + i % n]);
                *z = tape.add(scaled, own[2 * n + i % n]);
            }
            *z = match layer.activation {
                Activation::Relu => tape.map(*z, |z| z.max(0.0), |z| if z > 0.0 { 1.0 } else { 0.0 }),
                Activation::Tanh => tape.map(*z, f64::tanh, |z| 1.0 - z.tanh().powi(2)),
                _ => *z,
            };
        }
        values = sums;
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
            for (z, &label) in values.chunks_exact(values.len() / samples).zip(labels) {
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
    let engine = Kernels::active()?;
    let x: Vec<f32> = (0..30).map(|i| (i as f32 * 0.754_877_7).fract() * 2.0 - 1.0).collect();
    let values = (0..20).map(|i| (i as f32 * 0.569_840_3).fract()).collect();
    let values = (Loss::MeanSquared, Targets::Values { values, width: 2 });
    let classes = (Loss::default(), Targets::Classes((0..10).map(|i| i % 3 % 2).collect()));
    for (hidden, norm, l2, (loss, targets)) in [
        (Activation::Tanh, Norm::None, 0.01, &values),
        (Activation::Relu, Norm::None, 0.0, &classes),
        (Activation::Tanh, Norm::BATCH, 0.0, &classes),
        (Activation::Relu, Norm::BATCH, 0.01, &values),
        (Activation::Tanh, Norm::LAYER, 0.01, &classes),
        (Activation::Relu, Norm::LAYER, 0.0, &values),
    ] {
        let layers = vec![
            Dense { norm, ..Dense::new(3, 7, hidden) },
            Dense { norm, ..Dense::new(7, 5, hidden) },
            Dense::new(5, 2, Activation::Identity),
        ];
        let model = Mlp::with_layers(layers.clone(), Initialiser::HeNormal, 5)?;
        let mut parameters: Vec<f64> = model.parameters().flatten().map(|&p| p.into()).collect();
        // All samples in each step, so that their order is nothing to the tape.
        let recipe = Recipe {
            epochs: 20,
            loss: loss.clone(),
            penalties: if l2 > 0.0 { vec![Penalty { l1: 0.0, l2: l2 as f32 }] } else { Vec::new() },
            optimiser: Sgd { learning_rate: 0.1, momentum: 0.5, nesterov: false }.into(),
            ..Recipe::default()
        };
        let data = Dataset::from_numbers(x.clone(), 3, targets.clone())?;
        let mut trainer = Trainer::new(model, recipe, &engine)?;
        let mut velocity = vec![0.0; parameters.len()];
        for end in trainer.fit(&data, &mut ())? {
            let (loss, gradient) = gradient(&layers, &parameters, &x, targets, l2);
            let (step, found) = (end.epoch, end.metrics.loss);
            assert!((found - loss).abs() < 1e-5, "{hidden:?}, {norm:?}, step {step}: {found} and {loss}");
            for ((p, v), g) in parameters.iter_mut().zip(&mut velocity).zip(gradient) {
                *v = 0.5 * *v - 0.1 * g;
                *p += *v;
            }
        }
        for (found, expected) in trainer.model().parameters().flatten().zip(&parameters) {
            let error = (f64::from(*found) - expected).abs();
            assert!(error < 1e-5, "{hidden:?}, {norm:?}: {found} and {expected}");
        }
    }
    Ok(())
}
