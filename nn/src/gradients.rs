//! Every gradient against central differences of an `f64` model that shares no code with the engines.

use crate::dense::Dense;
use crate::engine::{Activation, Engine, Kernels, LoopOrder, Naive};
use crate::mlp::{Batch, Mlp};
use crate::rng::Rng;
use crate::{Dataset, Result};
use kernels::{Backend, Serial};

/// All engines that run here.
fn engines() -> Vec<(String, Box<dyn Engine>)> {
    let naive = [LoopOrder::Ijk, LoopOrder::Ikj];
    let naive = naive.map(|order| (format!("naive {order:?}"), Box::new(Naive { order }) as Box<dyn Engine>));
    let kernels = Backend::supported()
        .map(|backend| (backend.name().into(), Box::new(Kernels { backend, par: &Serial }) as Box<dyn Engine>));
    kernels.chain(naive).collect()
}

fn uniform(rng: &mut Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| 2.0 * rng.uniform() - 1.0).collect()
}

fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

/// The definition of a layer, in `f64`.
fn dense(layer: &Dense, parameters: &[f64], x: &[f64]) -> Vec<f64> {
    let (w, b) = parameters.split_at(layer.inputs * layer.outputs);
    let mut y = Vec::new();
    for x in x.chunks_exact(layer.inputs) {
        for j in 0..layer.outputs {
            let z = b[j] + (0..layer.inputs).map(|p| x[p] * w[p * layer.outputs + j]).sum::<f64>();
            y.push(if layer.activation == Activation::Relu { z.max(0.0) } else { z });
        }
    }
    y
}

/// The definition of the mean cross-entropy, in `f64`.
fn cross_entropy(classes: usize, logits: &[f64], labels: &[u32]) -> f64 {
    let losses = logits.chunks_exact(classes).zip(labels).map(|(z, &label)| {
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        sum.ln() - z[label as usize]
    });
    losses.sum::<f64>() / labels.len() as f64
}

/// Compares a gradient with central differences of `f` at `at`, relative to the largest of its elements.
fn check(what: &str, gradient: &[f32], at: &[f64], f: impl Fn(&[f64]) -> f64) {
    const H: f64 = 1e-6;
    assert_eq!(gradient.len(), at.len(), "{what}");
    let mut at = at.to_vec();
    let mut expected = Vec::new();
    for i in 0..at.len() {
        let here = at[i];
        at[i] = here + H;
        let above = f(&at);
        at[i] = here - H;
        expected.push((above - f(&at)) / (2.0 * H));
        at[i] = here;
    }
    let scale = expected.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    assert!(scale > 0.0, "{what}: nothing to compare");
    for (i, (&g, e)) in gradient.iter().zip(&expected).enumerate() {
        assert!((f64::from(g) - e).abs() <= 1e-5 * scale, "{what}[{i}] is {g}, but differences give {e}");
    }
}

#[test]
fn dense_layers() -> Result<()> {
    for (name, engine) in engines() {
        for activation in [Activation::Identity, Activation::Relu] {
            let mut rng = Rng::new(1, 0);
            let layer = Dense { inputs: 5, outputs: 19, activation };
            let parameters = uniform(&mut rng, layer.parameter_count());
            let (x, c) = (uniform(&mut rng, 7 * 5), uniform(&mut rng, 7 * 19));
            // The "loss" is the sum of c times y, so that c is the gradient of y.
            let loss = |parameters: &[f64], x: &[f64]| {
                dense(&layer, parameters, x).iter().zip(&c).map(|(y, &c)| y * f64::from(c)).sum::<f64>()
            };

            let (mut y, mut dz) = (vec![f32::NAN; c.len()], c.clone());
            layer.forward(&*engine, &parameters, &x, &mut y)?;
            engine.activation_gradient(activation, &y, &mut dz)?;
            let (mut gradient, mut dx) = (vec![f32::NAN; parameters.len()], vec![f32::NAN; x.len()]);
            layer.backward(&*engine, &parameters, &x, &dz, &mut gradient, Some(&mut dx))?;

            let (p, x) = (widen(&parameters), widen(&x));
            for (i, (y, e)) in y.iter().zip(dense(&layer, &p, &x)).enumerate() {
                assert!((f64::from(*y) - e).abs() < 1e-6, "{name}, {activation:?}: y[{i}] is {y}, not {e}");
            }
            check(&format!("{name}, {activation:?}: parameters"), &gradient, &p, |p| loss(p, &x));
            check(&format!("{name}, {activation:?}: dx"), &dx, &x, |x| loss(&p, x));
        }
    }
    Ok(())
}

#[test]
fn softmax_cross_entropy() -> Result<()> {
    let (classes, labels) = (10, [3, 0, 9, 9]);
    let logits: Vec<f32> = uniform(&mut Rng::new(2, 0), 40).iter().map(|z| 4.0 * z).collect();
    for (name, engine) in engines() {
        let (mut gradient, mut losses) = (logits.clone(), [f32::NAN; 4]);
        engine.softmax_cross_entropy(classes, &mut gradient, &labels, 0.25, &mut losses)?;
        check(&name, &gradient, &widen(&logits), |z| cross_entropy(classes, z, &labels));
        for (i, (z, loss)) in logits.chunks_exact(classes).zip(losses).enumerate() {
            let expected = cross_entropy(classes, &widen(z), &labels[i..=i]);
            assert!((f64::from(loss) - expected).abs() < 1e-5, "{name}: loss {i} is {loss}, not {expected}");
        }
    }
    Ok(())
}

/// Whole models of one, two and four layers: the gradient of the mean loss with respect to every parameter. The batch
/// is smaller than the one before it, as the last of an epoch is.
#[test]
fn models() -> Result<()> {
    let mut rng = Rng::new(3, 0);
    let pixels = (0..11 * 6).map(|_| (rng.uniform() * 256.0) as u8).collect();
    let data = Dataset::new(pixels, vec![0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2], 2, 3)?;
    for (name, engine) in engines() {
        for sizes in [&[6, 4][..], &[6, 17, 4], &[6, 9, 33, 8, 4]] {
            let mut model = Mlp::new(sizes, 4)?;
            // Biases other than zero, so that they count.
            for parameter in model.parameters_mut() {
                *parameter += 0.2 * rng.uniform() - 0.1;
            }
            let mut gradient = vec![f32::NAN; model.parameter_count()];
            let mut batch = Batch::new(&model, 8);
            for samples in [0..8, 8..11] {
                batch.load(&model, &*engine, &data, samples.clone())?;
                batch.forward(&model, &*engine)?;
                let tally = batch.loss(&model, &*engine)?;
                batch.backward(&model, &*engine, &mut gradient)?;

                let labels = &data.labels()[samples.clone()];
                let x: Vec<f64> = samples.flat_map(|i| data.image(i)).map(|&byte| f64::from(byte) / 255.0).collect();
                let loss = |parameters: &[f64]| {
                    let (mut values, mut rest) = (x.clone(), parameters);
                    for layer in model.layers() {
                        let (parameters, tail) = rest.split_at(layer.parameter_count());
                        values = dense(layer, parameters, &values);
                        rest = tail;
                    }
                    cross_entropy(4, &values, labels)
                };
                let parameters: Vec<f64> = model.parameters().flatten().map(|&p| p.into()).collect();
                check(&format!("{name}, {sizes:?}"), &gradient, &parameters, loss);
                let expected = loss(&parameters);
                let found = tally.metrics().loss;
                assert!((found - expected).abs() < 1e-6, "{name}, {sizes:?}: loss is {found}, not {expected}");
            }
        }
    }
    Ok(())
}
