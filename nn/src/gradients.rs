//! Every gradient against central differences of an `f64` model that shares no code with the engines.

use crate::dense::{Dense, Initialiser, Kept};
use crate::engine::{Engine, Kernels, LoopOrder, Naive};
use crate::loss::{Loss, Penalty, Wanted};
use crate::mlp::{Batch, Mlp};
use crate::norm::Norm;
use crate::rng::{Noise, Rng};
use crate::{Dataset, Result};
use kernels::{Activation, Backend, Serial, reference};

/// All engines that run here.
fn engines() -> Vec<(String, Box<dyn Engine>)> {
    let naive = [LoopOrder::Ijk, LoopOrder::Ikj];
    let naive = naive.map(|order| (format!("naive {order:?}"), Box::new(Naive { order }) as Box<dyn Engine>));
    let kernels = Backend::supported().map(|backend| {
        (
            backend.name().into(),
            Box::new(Kernels { backend, par: &Serial, precision: Default::default() }) as Box<dyn Engine>,
        )
    });
    kernels.chain(naive).collect()
}

fn uniform(rng: &mut Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| 2.0 * rng.uniform() - 1.0).collect()
}

fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

/// All of them, with parameters that count.
fn activations() -> [Activation; Activation::ALL.len()] {
    Activation::ALL.map(|f| match f {
        Activation::LeakyRelu { .. } => Activation::LeakyRelu { alpha: 0.1 },
        Activation::Elu { .. } => Activation::Elu { alpha: 0.7 },
        other => other,
    })
}

/// The definition of a layer in training, in `f64`.
fn dense(layer: &Dense, parameters: &[f64], x: &[f64]) -> Vec<f64> {
    let n = layer.outputs;
    let (w, rest) = parameters.split_at(layer.inputs * n);
    let mut sums = Vec::new();
    for x in x.chunks_exact(layer.inputs) {
        for j in 0..n {
            sums.push(rest[j] + (0..layer.inputs).map(|p| x[p] * w[p * n + j]).sum::<f64>());
        }
    }
    let rows = sums.len() / n;
    let normalised = |i: usize, j: usize| {
        let (group, epsilon): (Vec<f64>, f32) = match layer.norm {
            Norm::None => return sums[i * n + j],
            Norm::Batch { epsilon, .. } => ((0..rows).map(|i| sums[i * n + j]).collect(), epsilon),
            Norm::Layer { epsilon } => (sums[i * n..][..n].to_vec(), epsilon),
        };
        let mean = group.iter().sum::<f64>() / group.len() as f64;
        let variance = group.iter().map(|h| (h - mean).powi(2)).sum::<f64>() / group.len() as f64;
        rest[n + j] * (sums[i * n + j] - mean) / (variance + f64::from(epsilon)).sqrt() + rest[2 * n + j]
    };
    let z = (0..rows).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| normalised(i, j));
    z.map(|z| reference::function(layer.activation.into(), z)).collect()
}

const NORMS: [Norm; 3] = [Norm::None, Norm::BATCH, Norm::LAYER];

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
        for (activation, norm) in activations().into_iter().flat_map(|f| NORMS.map(|norm| (f, norm))) {
            let mut rng = Rng::new(1, 0);
            let layer = Dense { norm, ..Dense::new(5, 19, activation) };
            let parameters = uniform(&mut rng, layer.parameter_count());
            let (x, c) = (uniform(&mut rng, 7 * 5), uniform(&mut rng, 7 * 19));
            // The "loss" is the sum of c times y, so that c is the gradient of y.
            let loss = |parameters: &[f64], x: &[f64]| {
                dense(&layer, parameters, x).iter().zip(&c).map(|(y, &c)| y * f64::from(c)).sum::<f64>()
            };

            let (mut y, mut dz) = (vec![f32::NAN; c.len()], c.clone());
            let (mut values, mut saved) = (vec![f32::NAN; 7 * layer.kept()], vec![f32::NAN; norm.saved(7, 19)]);
            let kept = Kept { values: &mut values, saved: &mut saved };
            layer.forward(&*engine, &parameters, None, &x, kept, &mut y)?;
            layer.backward_activation(&*engine, &values, &y, &mut dz)?;
            let (mut gradient, mut dx) = (vec![f32::NAN; parameters.len()], vec![f32::NAN; x.len()]);
            let kept = Kept { values: &mut values, saved: &mut saved };
            layer.backward_norm(&*engine, &parameters, &kept, &mut dz, &mut gradient)?;
            layer.backward_input(&*engine, &parameters, &dz, &mut dx)?;
            layer.backward(&*engine, &mut parameters.clone(), &x, &dz, &mut gradient, None)?;

            let (p, x) = (widen(&parameters), widen(&x));
            for (i, (y, e)) in y.iter().zip(dense(&layer, &p, &x)).enumerate() {
                assert!((f64::from(*y) - e).abs() < 2e-6, "{name}, {layer:?}: y[{i}] is {y}, not {e}");
            }
            check(&format!("{name}, {layer:?}: parameters"), &gradient, &p, |p| loss(p, &x));
            check(&format!("{name}, {layer:?}: dx"), &dx, &x, |x| loss(&p, x));
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

/// Every loss from `f64` definitions of its own, with scale 1/4 of a batch of 4; and its value.
#[test]
fn losses() -> Result<()> {
    const N: usize = 3;
    let mean = |z: &[f64], t: &[f32], f: fn(f64, f64) -> f64| -> f64 {
        z.iter().zip(t).map(|(&z, &t)| f(z, t.into())).sum::<f64>() / (4 * N) as f64
    };
    let weighted = |z: &[f64], t: &[f32], weights: &[f64]| -> f64 {
        let losses = z.chunks_exact(N).zip(t.chunks_exact(N)).zip(weights).map(|((z, t), weight)| {
            let sum: f64 = z.iter().map(|z| z.exp()).sum();
            weight * z.iter().zip(t).map(|(z, &t)| f64::from(t) * (sum.ln() - z)).sum::<f64>()
        });
        losses.sum::<f64>() / 4.0
    };
    let mut rng = Rng::new(5, 0);
    let z: Vec<f32> = uniform(&mut rng, 4 * N).iter().map(|z| 3.0 * z).collect();
    let values: Vec<f32> = uniform(&mut rng, 4 * N).iter().map(|z| 0.5 + 0.5 * z).collect();
    let labels = [2, 0, 1, 1];
    // (1 - .3) + .3 / 3 and .3 / 3.
    let smooth: Vec<f32> = labels.iter().flat_map(|&l| [0, 1, 2].map(|j| if l == j { 0.8 } else { 0.1 })).collect();
    let smooth_values: Vec<f32> = values.iter().map(|t| 0.7 * t + 0.1).collect();
    let class_weights = vec![0.5, 2.0, 1.5];
    let weights = [1.5, 0.5, 2.0, 2.0];
    type Definition<'a> = Box<dyn Fn(&[f64]) -> f64 + 'a>;
    let cross_entropy =
        |smoothing, class_weights: &[f32]| Loss::CrossEntropy { smoothing, class_weights: class_weights.into() };
    let huber = |z: f64, t: f64| {
        let r = (z - t).abs();
        if r <= 0.75 { r * r / 2.0 } else { 0.75 * r - 0.75 * 0.75 / 2.0 }
    };
    let cases: Vec<(Loss, Wanted<'_>, Definition<'_>)> = vec![
        (Loss::MeanSquared, Wanted::Values(&values), Box::new(|z| mean(z, &values, |z, t| (z - t).powi(2)))),
        (Loss::MeanAbsolute, Wanted::Values(&values), Box::new(|z| mean(z, &values, |z, t| (z - t).abs()))),
        (Loss::Huber { delta: 0.75 }, Wanted::Values(&values), Box::new(|z| mean(z, &values, huber))),
        (
            Loss::BinaryCrossEntropy,
            Wanted::Values(&values),
            Box::new(|z| {
                mean(z, &values, |z, t| {
                    let p = 1.0 / (1.0 + (-z).exp());
                    -t * p.ln() - (1.0 - t) * (1.0 - p).ln()
                })
            }),
        ),
        (cross_entropy(0.0, &[]), Wanted::Values(&values), Box::new(|z| weighted(z, &values, &[1.0; 4]))),
        (cross_entropy(0.3, &[]), Wanted::Values(&values), Box::new(|z| weighted(z, &smooth_values, &[1.0; 4]))),
        (cross_entropy(0.3, &[]), Wanted::Classes(&labels), Box::new(|z| weighted(z, &smooth, &[1.0; 4]))),
        (cross_entropy(0.3, &class_weights), Wanted::Classes(&labels), Box::new(|z| weighted(z, &smooth, &weights))),
    ];
    for (name, engine) in engines() {
        for (loss, wanted, definition) in &cases {
            let what = format!("{name}, {loss:?}");
            let (mut gradient, mut losses) = (z.clone(), [f32::NAN; 4]);
            loss.apply(&*engine, N, &mut gradient, *wanted, 0.25, &mut losses)?;
            check(&what, &gradient, &widen(&z), definition);
            let (found, expected) = (widen(&losses).iter().sum::<f64>() / 4.0, definition(&widen(&z)));
            assert!((found - expected).abs() < 1e-6, "{what} is {found}, not {expected}");
        }
    }
    Ok(())
}

/// Far out, where a naive formula overflows: the loss is finite and the gradient right.
#[test]
fn losses_far_out() -> Result<()> {
    let engine = Kernels { backend: Backend::active()?, par: &Serial, precision: Default::default() };
    for (z, t, loss, slope) in
        [(1e4, 0.0, 1e4, 1.0), (-1e4, 1.0, 1e4, -1.0), (1e4, 1.0, 0.0, 0.0), (0.0, 0.5, 2f32.ln(), 0.0)]
    {
        let (mut z, mut losses) = ([z], [0.0]);
        Loss::BinaryCrossEntropy.apply(&engine, 1, &mut z, Wanted::Values(&[t]), 1.0, &mut losses)?;
        assert_eq!((losses, z), ([loss], [slope]));
    }
    let smoothed = Loss::CrossEntropy { smoothing: 0.2, class_weights: Vec::new() };
    let (mut z, mut losses) = ([1e4, -1e4], [0.0]);
    smoothed.apply(&engine, 2, &mut z, Wanted::Classes(&[1]), 1.0, &mut losses)?;
    assert_eq!((losses, z), ([1.8e4], [0.9, -0.9]));
    Ok(())
}

#[test]
fn penalties() {
    let mut rng = Rng::new(6, 0);
    let w = uniform(&mut rng, 20);
    let definition = |l1: f64, l2: f64, w: &[f64]| w.iter().map(|w| l1 * w.abs() + l2 * w * w).sum::<f64>();
    for (l1, l2) in [(0.25, 0.0), (0.0, 0.5), (0.25, 0.5)] {
        let mut gradient = vec![0.0; 20];
        let cost = Penalty { l1, l2 }.apply(&w, &mut gradient);
        let (l1, l2) = (l1.into(), l2.into());
        check("penalty", &gradient, &widen(&w), |w| definition(l1, l2, w));
        assert!((cost - definition(l1, l2, &widen(&w))).abs() < 1e-12);
    }
}

/// Whole models of one, two and four layers, with every activation, with and without dropout and normalisation: the
/// gradient of the mean loss with respect to every parameter. The batch is smaller than the one before it, as the last
/// of an epoch is.
#[test]
fn models() -> Result<()> {
    let mut rng = Rng::new(3, 0);
    let pixels = (0..11 * 6).map(|_| (rng.uniform() * 256.0) as u8).collect();
    let data = Dataset::new(pixels, vec![0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2], 2, 3)?;
    let shapes = [&[6, 4][..], &[6, 17, 4], &[6, 9, 33, 8, 4]];
    let kinds = activations().map(|f| (f, 0.0, Norm::None)).into_iter().chain([
        (Activation::Relu, 0.4, Norm::None),
        (Activation::Gelu, 0.4, Norm::LAYER),
        (Activation::Tanh, 0.4, Norm::BATCH),
        (Activation::Softplus, 0.0, Norm::BATCH),
    ]);
    for (activation, dropout, norm) in kinds {
        for (name, engine) in engines() {
            // The same numbers for each, however many rows a CPU has.
            let mut rng = Rng::new(3, 1);
            for sizes in shapes {
                let mut layers = Mlp::with(sizes, activation, Initialiser::HeNormal, 4)?.layers().to_vec();
                let (_, hidden) = layers.split_last_mut().unwrap();
                hidden.iter_mut().for_each(|layer| (layer.dropout, layer.norm) = (dropout, norm));
                let mut model = Mlp::with_layers(layers, Initialiser::HeNormal, 4)?;
                // Biases other than zero, so that they count.
                for parameter in model.parameters_mut() {
                    *parameter += 0.2 * rng.uniform() - 0.1;
                }
                let what = format!("{name}, {sizes:?}, {activation:?}, dropout {dropout}, {norm:?}");
                let mut gradient = vec![f32::NAN; model.parameter_count()];
                let mut batch = Batch::new(&model, 8);
                for (number, samples) in (5..).zip([0..8, 8..11]) {
                    let (plain, noise) = (Loss::default(), Noise { seed: 9, batch: number });
                    batch.load(&model, &*engine, &data, samples.clone())?;
                    batch.load_targets(&model, &plain, &data, samples.clone());
                    batch.forward(&model, &*engine, Some(noise))?;
                    let tally = batch.loss(&model, &*engine, &plain, 1.0 / samples.len() as f32)?;
                    batch.backward(&mut model, &*engine, &mut gradient, None)?;

                    let labels = &data.labels()[samples.clone()];
                    let x: Vec<f64> =
                        samples.flat_map(|i| data.image(i)).map(|&byte| f64::from(byte) / 255.0).collect();
                    let loss = |parameters: &[f64]| {
                        let (mut values, mut rest) = (x.clone(), parameters);
                        for (l, layer) in model.layers().iter().enumerate() {
                            let (parameters, tail) = rest.split_at(layer.parameter_count());
                            values = dense(layer, parameters, &values);
                            rest = tail;
                            if layer.dropout > 0.0 {
                                let mut mask = vec![1.0; values.len()];
                                noise.of(l, sizes.len() - 1).drop(dropout, &mut mask);
                                values.iter_mut().zip(mask).for_each(|(y, kept)| *y *= f64::from(kept));
                            }
                        }
                        cross_entropy(4, &values, labels)
                    };
                    let parameters: Vec<f64> = model.parameters().flatten().map(|&p| p.into()).collect();
                    check(&what, &gradient, &parameters, loss);
                    let (found, expected) = (tally.metrics().loss, loss(&parameters));
                    assert!(
                        (found - expected).abs() < 1e-6 * expected.max(1.0),
                        "{what}: loss is {found}, not {expected}"
                    );
                }
            }
        }
    }
    Ok(())
}
