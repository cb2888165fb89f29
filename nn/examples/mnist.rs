//! The reference program, a Keras tutorial: load, scale, split, build, train, evaluate, look at the predictions.
//!
//! ```text
//! cargo run --release -p nn --example mnist
//! ```

use nn::metrics::{Average, Confusion};
use nn::{Adam, EarlyStopping, EpochEnd, Kernels, Mlp, Mnist, Observer, Recipe, Trainer};
use std::ops::ControlFlow;

struct Print;

impl Observer for Print {
    fn on_epoch(&mut self, end: &EpochEnd) -> ControlFlow<()> {
        let validation = end.validation.unwrap_or(end.metrics);
        println!(
            "Epoch {}/{}: loss {:.4}, validation {:.4}",
            end.epoch + 1,
            end.epochs,
            end.metrics.loss,
            validation.loss
        );
        ControlFlow::Continue(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Pixels stay bytes; each batch is brought to [0, 1] on its way into the model.
    let mnist = Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/mnist"))?;
    let parts = mnist.train.split(&[0.9, 0.1], true, 0)?;

    let engine = Kernels::active()?;
    let model = Mlp::new(&[784, 128, 10], 0)?;
    print!("{}", model.summary());

    let recipe = Recipe {
        epochs: 5,
        batch: 32,
        optimiser: Adam::default().into(),
        early_stopping: Some(EarlyStopping { patience: 2, min_delta: 0.0 }),
        ..Recipe::default()
    };
    let mut trainer = Trainer::new(model, recipe, &engine)?;
    trainer.fit_and_validate(&parts[0], Some(&parts[1]), &mut Print)?;

    let model = trainer.into_model();
    let test = model.evaluate(&engine, &mnist.test)?;
    println!("Test: accuracy {:.4}, loss {:.4}", test.accuracy, test.loss);

    let predictions = model.predict(&engine, &mnist.test)?;
    println!("The first 25: {:?}\nPredicted:    {:?}", &mnist.test.labels()[..25], &predictions[..25]);
    let confusion = Confusion::new(10, mnist.test.labels(), &predictions)?;
    println!("Macro F1 {:.4}; how often each digit was taken for each:", confusion.average(Average::Macro).f1);
    for row in confusion.rows() {
        println!("{row:5?}");
    }
    Ok(())
}
