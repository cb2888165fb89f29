//! Adam against numbers that can be checked by hand, and against its formula in `f64`.

use kernels::{Backend, Serial, Team, Update};
use nn::{Adam, Clip, Engine, Kernels, LoopOrder, Loss, Mlp, Naive, Penalty, Recipe, Result, Schedule, Sgd, Trainer};

fn for_each_engine(test: impl Fn(&str, &dyn Engine) -> Result<()>) -> Result<()> {
    for backend in Backend::supported() {
        test(backend.name(), &Kernels { backend, par: &Serial, precision: Default::default() })?;
    }
    test("naive", &Naive { order: LoopOrder::Ikj })
}

fn step(adam: &Adam, t: u64) -> Update {
    let Adam { learning_rate, beta1, beta2, epsilon } = *adam;
    Update::Adam(kernels::Adam::at_step(learning_rate, beta1, beta2, epsilon, t))
}

/// Takes one parameter through these gradients, from 0.
fn walk(engine: &dyn Engine, adam: &Adam, gradients: &[f32]) -> Result<f32> {
    let (mut p, mut state) = ([0.0], [0.0; 2]);
    for (t, &g) in (1..).zip(gradients) {
        let rule = step(adam, t);
        engine.update(&rule, &[g], &mut p, rule.parts(&mut state))?;
    }
    Ok(p[0])
}

#[test]
fn adam_by_hand() -> Result<()> {
    let adam = Adam::default();
    for_each_engine(|name, engine| {
        for (gradients, expected) in [
            // m = .1, v = .001, rate = .001·√.001/.1: the first step is the learning rate, whatever the gradient.
            (&[1.0][..], -0.001),
            (&[-250.0], 0.001),
            // A constant gradient: every step is the learning rate.
            (&[0.5; 100], -0.1),
            // Then g = 0: m = .09, v = .000999, rate = .001·√.001999/.19, step .000670056.
            (&[1.0, 0.0], -0.001_670_056),
            // ε stands beside √v, not beside the corrected √(v / (1 - β₂)): .001·√.001/.1·1e-8 / (√.001·1e-7 + 1e-7).
            (&[1e-7], -3.065_3e-5),
            // No gradient, no step: 0 / (0 + ε).
            (&[0.0, 0.0], 0.0),
        ] {
            let found = walk(engine, &adam, gradients)?;
            assert!((found - expected).abs() <= 2e-5 * expected.abs(), "{name}: {found}, not {expected}");
        }
        Ok(())
    })
}

#[test]
fn adam_over_a_hundred_steps() -> Result<()> {
    let adam = Adam { learning_rate: 0.01, beta1: 0.8, beta2: 0.95, epsilon: 1e-5 };
    let gradient = |t: u64, i: usize| ((t as f64 * 1.7 + i as f64).sin() * 10f64.powi(i as i32 % 5 - 2)) as f32;
    for_each_engine(|name, engine| {
        // More than a vector and not a multiple of one.
        let (mut p, mut state) = (vec![0.5; 37], vec![0.0; 2 * 37]);
        let mut expected = vec![(0.5_f64, 0.0_f64, 0.0_f64); 37];
        let [rate, b1, b2, epsilon] = [adam.learning_rate, adam.beta1, adam.beta2, adam.epsilon].map(f64::from);
        for t in 1..=100 {
            let g: Vec<f32> = (0..37).map(|i| gradient(t, i)).collect();
            let rule = step(&adam, t);
            engine.update(&rule, &g, &mut p, rule.parts(&mut state))?;
            let alpha = rate * (1.0 - b2.powi(t as i32)).sqrt() / (1.0 - b1.powi(t as i32));
            for ((p, m, v), g) in expected.iter_mut().zip(g.iter().map(|&g| f64::from(g))) {
                *m = b1 * *m + (1.0 - b1) * g;
                *v = b2 * *v + (1.0 - b2) * g * g;
                *p -= alpha * *m / (v.sqrt() + epsilon);
            }
        }
        for (i, (p, (e, ..))) in p.iter().zip(&expected).enumerate() {
            assert!((f64::from(*p) - e).abs() < 2e-6, "{name}: parameter {i} is {p}, not {e}");
        }
        Ok(())
    })
}

/// Every rule on every number of threads, with so many parameters that threads share them: the same bits; and near to
/// those of naive loops.
#[test]
fn threads_share_an_update() -> Result<()> {
    const N: usize = 400_003;
    let number = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0;
    let (rate, epsilon) = (0.1, 1e-3);
    let adam = kernels::Adam::at_step(rate, 0.9, 0.999, epsilon, 3);
    for rule in [
        Update::Sgd { rate },
        Update::Momentum { rate, momentum: 0.9 },
        Update::Nesterov { rate, momentum: 0.9 },
        Update::Adagrad { rate, epsilon },
        Update::RmsProp { rate, rho: 0.9, epsilon },
        Update::Adam(adam),
        Update::AdamW { adam, keep: 0.99 },
    ] {
        let gradient: Vec<f32> = (0..N).map(|i| number(i, 0)).collect();
        let update = |engine: &dyn Engine| -> Result<(Vec<f32>, Vec<f32>)> {
            let mut parameters: Vec<f32> = (0..N).map(|i| number(i, 1)).collect();
            let mut state: Vec<f32> = (0..rule.state() * N).map(|i| number(i, 2).abs()).collect();
            engine.update(&rule, &gradient, &mut parameters, rule.parts(&mut state))?;
            Ok((parameters, state))
        };
        let naive = update(&Naive { order: LoopOrder::Ikj })?;
        for backend in Backend::supported() {
            let expected = update(&Kernels { backend, par: &Serial, precision: Default::default() })?;
            for threads in 2..=3 {
                let found = update(&Kernels { backend, par: &Team::new(threads), precision: Default::default() })?;
                assert!(found == expected, "{rule:?} on {} with {threads} threads has other bits", backend.name());
            }
            let close = |x: &[f32], y: &[f32]| x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-5);
            assert!(close(&expected.0, &naive.0) && close(&expected.1, &naive.1), "{rule:?} on {}", backend.name());
        }
    }
    let engine = Kernels { backend: Backend::active()?, par: &Team::new(2), precision: Default::default() };
    let (mut p, mut m) = (vec![0.0; N], vec![0.0; N]);
    assert!(engine.update(&Update::Adam(adam), &vec![0.0; N], &mut p, [&mut m, &mut []]).is_err());
    Ok(())
}

#[test]
fn settings_out_of_range_are_errors() -> Result<()> {
    let engine = Kernels::active()?;
    let change = |change: fn(&mut Recipe)| {
        let mut recipe = Recipe::default();
        change(&mut recipe);
        Trainer::new(Mlp::new(&[2, 2], 0)?, recipe, &engine).map(|_| ())
    };
    type Change = fn(&mut Recipe);
    let cases: [(Change, &str); 15] = [
        (|r| r.batch = 0, "batch is 0, but must be at least 1"),
        (
            |r| r.optimiser = Adam { learning_rate: -1.0, ..Adam::default() }.into(),
            "learning_rate is -1, but must be finite and not negative",
        ),
        (
            |r| r.optimiser = Adam { learning_rate: f32::NAN, ..Adam::default() }.into(),
            "learning_rate is NaN, but must be finite and not negative",
        ),
        (|r| r.optimiser = Adam { beta1: 1.0, ..Adam::default() }.into(), "beta1 is 1, but must be in [0, 1)"),
        (|r| r.optimiser = Adam { beta2: -0.5, ..Adam::default() }.into(), "beta2 is -0.5, but must be in [0, 1)"),
        (
            |r| r.optimiser = Adam { epsilon: 0.0, ..Adam::default() }.into(),
            "epsilon is 0, but must be finite and positive",
        ),
        (|r| r.accumulate = 0, "accumulate is 0, but must be at least 1"),
        (|r| r.clip = Some(Clip::Norm(0.0)), "clip norm is 0, but must be finite and positive"),
        (
            |r| r.penalties = vec![Penalty::default(); 2],
            "number of penalties is 2, but must be 0, 1 or the number of layers",
        ),
        (|r| r.penalties = vec![Penalty { l1: -1.0, l2: 0.0 }], "l1 is -1, but must be finite and not negative"),
        (|r| r.loss = Loss::Huber { delta: 0.0 }, "delta is 0, but must be finite and positive"),
        (
            |r| r.loss = Loss::CrossEntropy { smoothing: 0.0, class_weights: vec![1.0; 3] },
            "number of class_weights is 3, but must be none, or one for each output of the model",
        ),
        (
            |r| r.loss = Loss::CrossEntropy { smoothing: 1.0, class_weights: Vec::new() },
            "smoothing is 1, but must be in [0, 1)",
        ),
        (|r| r.optimiser = Sgd { momentum: 1.0, ..Sgd::default() }.into(), "momentum is 1, but must be in [0, 1)"),
        (|r| r.schedule = Schedule::Step { every: 0, factor: 0.5 }, "every is 0, but must be at least 1"),
    ];
    for (wrong, expected) in cases {
        assert_eq!(change(wrong).unwrap_err().to_string(), expected);
    }
    change(|r| r.batch = usize::MAX)
}
