//! Predictions: the bits of the model's own evaluation, whatever the batch, the thread and the row of the kernels.

use kernels::{Backend, Precision, Serial};
use nn::quantize::Calibration;
use nn::{
    Activation, Dataset, Dense, Initialiser, Kernels, Mlp, Norm, Predictor, Quantized, Ranked, Result, Scaler, Scaling,
    Targets, metrics,
};
use proptest::prelude::*;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn data(numbers: &[f32], width: usize) -> Dataset {
    let labels = vec![0; numbers.len() / width];
    Dataset::from_numbers(numbers.into(), width, Targets::Classes(labels)).unwrap()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Deep, wide, narrow, with every kind of activation and normalisation, with a scaler and without.
fn models() -> Vec<Mlp> {
    let unusual = [Activation::LeakyRelu { alpha: 0.1 }, Activation::Elu { alpha: 1.5 }];
    let f = [&Activation::ALL[..], &unusual].concat();
    let sizes = [9, 5, 31, 17, 2, 64, 3, 300, 8, 12, 7, 5, 6, 10, 4];
    let norms = [Norm::None, Norm::BATCH, Norm::LAYER].into_iter().cycle();
    let hidden = f.iter().zip(sizes.windows(2)).zip(norms);
    let hidden = hidden.map(|((&f, pair), norm)| Dense { norm, ..Dense::new(pair[0], pair[1], f) });
    let layers = hidden.chain([Dense::new(4, 6, Activation::Identity)]).collect();
    let deep = Mlp::with_layers(layers, Initialiser::HeNormal, 1).unwrap();
    let scaler = Scaler::fit(&data(&numbers(90, 5), 9), Scaling::Standard).unwrap();
    vec![
        deep.clone().with_scaler(scaler).unwrap(),
        deep,
        Mlp::new(&[784, 128, 10], 2).unwrap(),
        Mlp::new(&[4, 16, 3], 3).unwrap(),
        Mlp::new(&[7, 2], 4).unwrap(),
    ]
}

#[test]
fn the_bits_are_those_of_the_model() -> Result<()> {
    for (m, model) in models().iter().enumerate() {
        let (inputs, outputs, count) = (model.inputs(), model.outputs(), 300);
        let x = numbers(count * inputs, 7);
        let data = data(&x, inputs);
        for (backend, precision) in Backend::supported().flat_map(|backend| Precision::ALL.map(|p| (backend, p))) {
            let engine = Kernels { backend, par: &Serial, precision };
            let predictor = Predictor::precise(backend, precision, model)?;
            let mut found = vec![0.0; count * outputs];
            predictor.run(&x, &mut found)?;
            assert_eq!(bits(&found), bits(&model.run(&engine, &data)?), "model {m}, {backend:?}, {precision}");
            predictor.probabilities(&x, &mut found)?;
            let probabilities = model.probabilities(&engine, &data)?;
            assert_eq!(bits(&found), bits(&probabilities), "model {m}, {backend:?}, {precision}");
            let mut classes = vec![0; count];
            predictor.classes(&x, &mut classes)?;
            assert_eq!(classes, model.predict(&engine, &data)?);

            let k = outputs.min(3);
            let mut ranked = vec![Ranked::default(); count * k];
            predictor.top_k(&x, k, &mut ranked)?;
            for ((p, ranked), &class) in probabilities.chunks(outputs).zip(ranked.chunks(k)).zip(&classes) {
                let mut order: Vec<usize> = (0..outputs).collect();
                order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
                for (ranked, &class) in ranked.iter().zip(&order) {
                    assert_eq!((ranked.class as usize, ranked.probability), (class, p[class]));
                }
                assert_eq!(ranked[0].class, class);
            }
        }
    }
    Ok(())
}

#[test]
fn the_first_of_the_ranking_is_the_class() -> Result<()> {
    // Logits that are infinite, or no numbers.
    let x = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, -f32::MAX, 0.0];
    for seed in 0..5 {
        let predictor = Predictor::new(&Mlp::new(&[1, 4], seed)?)?;
        let (mut classes, mut ranked) = ([9; 6], [Ranked::default(); 6 * 4]);
        predictor.classes(&x, &mut classes)?;
        predictor.top_k(&x, 4, &mut ranked)?;
        for (ranked, class) in ranked.chunks(4).zip(classes) {
            assert_eq!(ranked[0].class, class);
            let mut all: Vec<u32> = ranked.iter().map(|ranked| ranked.class).collect();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3]);
        }
        assert_eq!([classes[2], classes[5]], [0, 0], "of equals, and of no numbers, the first");
    }
    Ok(())
}

#[test]
fn a_prediction_in_a_destructor_of_the_thread() {
    struct Last(Predictor);
    impl Drop for Last {
        fn drop(&mut self) {
            let mut class = [9];
            self.0.classes(&[1.0], &mut class).unwrap();
            assert!(class[0] < 2);
        }
    }
    thread_local! {
        static LAST: std::cell::OnceCell<Last> = const { std::cell::OnceCell::new() };
    }
    std::thread::spawn(|| {
        // Its destructor runs after that of the room of predictions.
        LAST.with(|last| assert!(last.set(Last(Predictor::new(&Mlp::new(&[1, 2], 0).unwrap()).unwrap())).is_ok()));
        LAST.with(|last| last.get().unwrap().0.classes(&[1.0], &mut [0])).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn pixels_are_those_of_a_data_set() -> Result<()> {
    let pixels: Vec<u8> = (0..300 * 784_u32).map(|i| (i.wrapping_mul(i) / 7) as u8).collect();
    let data = Dataset::new(pixels.clone(), vec![0; 300], 28, 28)?;
    let model = Mlp::new(&[784, 32, 10], 0)?;
    let mut found = vec![0.0; 3000];
    Predictor::new(&model)?.run(&pixels, &mut found)?;
    assert_eq!(bits(&found), bits(&model.run(&Kernels::active()?, &data)?));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// A sample alone, and anywhere in a batch of up to 10,000.
    #[test]
    fn the_batch_does_not_matter(count in 1..10_000_usize, which in 0..5_usize, seed in 0..100_u64) {
        let model = &models()[which];
        let predictor = Predictor::new(model).unwrap();
        let (inputs, outputs) = (model.inputs(), model.outputs());
        let count = if inputs > 100 { count.div_ceil(10) } else { count };
        let x = numbers(count * inputs, seed);
        let mut whole = vec![0.0; count * outputs];
        predictor.probabilities(&x, &mut whole).unwrap();
        for i in [0, count / 3, count - 1] {
            let mut alone = vec![0.0; outputs];
            predictor.probabilities(&x[i * inputs..][..inputs], &mut alone).unwrap();
            prop_assert_eq!(bits(&alone), bits(&whole[i * outputs..][..outputs]));
        }
    }
}

#[test]
fn many_threads_share_one() {
    let model = &models()[0];
    let predictor = Predictor::new(model).unwrap();
    let x = numbers(500 * 9, 1);
    let mut whole = vec![0.0; 500 * 6];
    predictor.run(&x, &mut whole).unwrap();
    std::thread::scope(|scope| {
        for t in 1..5 {
            let (predictor, x, whole) = (&predictor, &x, &whole);
            scope.spawn(move || {
                for start in (0..500 - t * 7).step_by(t * 7) {
                    let mut part = vec![0.0; t * 7 * 6];
                    predictor.run(&x[start * 9..][..t * 7 * 9], &mut part).unwrap();
                    assert_eq!(bits(&part), bits(&whole[start * 6..][..t * 7 * 6]));
                }
            });
        }
    });
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers() -> Result<()> {
    let predictor = Predictor::new(&Mlp::new(&[4, 5, 3], 0)?)?;
    let says = |result: Result<()>, text: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    says(predictor.run(&[0.0_f32; 9], &mut [0.0; 6]), "the samples");
    says(predictor.run(&[0.0_f32; 8], &mut [0.0; 5]), "the outputs");
    says(predictor.classes(&[0_u8; 8], &mut [0; 3]), "the predictions");
    says(predictor.top_k(&[0_u8; 8], 4, &mut [Ranked::default(); 8]), "k is 4");
    says(predictor.top_k(&[0_u8; 8], 0, &mut []), "k is 0");
    // A single output is no class, whoever is asked.
    let single = &Mlp::new(&[4, 1], 0)?;
    says(Predictor::new(single)?.probabilities(&[0.0_f32; 4], &mut [0.0]), "number of outputs is 1");
    let sample = Dataset::from_numbers(vec![0.5; 4], 4, Targets::Classes(vec![0]))?;
    let engine = Kernels::active()?;
    says(single.predict(&engine, &sample).map(drop), "number of outputs is 1");
    says(single.probabilities(&engine, &sample).map(drop), "number of outputs is 1");
    let small = Quantized::new(single, &sample, Calibration::MinMax)?;
    says(small.classes(sample.samples(), &mut [0]), "number of outputs is 1");
    says(small.probabilities(sample.samples(), &mut [0.0]), "number of outputs is 1");
    let none: &[f32] = &[];
    predictor.run(none, &mut [])?;
    Ok(())
}

/// The order of equals is that of [`metrics::top_k`].
#[test]
fn ties_go_to_the_first_class() -> Result<()> {
    let model = Mlp::with(&[2, 4], Activation::Relu, Initialiser::Constant(0.0), 0)?;
    let mut ranked = [Ranked::default(); 3];
    Predictor::new(&model)?.top_k(&[1.0_f32, 1.0], 3, &mut ranked)?;
    assert_eq!(ranked.map(|r| (r.class, r.probability)), [(0, 0.25), (1, 0.25), (2, 0.25)]);
    assert_eq!(metrics::top_k(2, 4, &[0.25; 4], &[1])?, 1.0);
    Ok(())
}
