//! `harness prune`: a saved model with most weights at 0, trained on, and what that costs.

use crate::console::Console;
use crate::error::{Error, Result};
use crate::files;
use crate::model::{self, Model};
use crate::report::{Table, thousands};
use clap::{ValueEnum, value_parser};
use nn::prune::{self, Scope};
use nn::{Adam, Kernels, Mlp, Mnist, Recipe, Trainer};
use std::path::PathBuf;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Args {
    /// The model, as `harness train` saves it
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Share of the weights that become 0, one after the other
    #[arg(long, value_name = "SHARE,..", value_delimiter = ',', default_value = "0.5,0.8,0.9,0.95")]
    sparsity: Vec<f64>,
    /// Which weights compete for being kept
    #[arg(long, value_enum, default_value_t = Which::Global)]
    scope: Which,
    /// Times to go through the training set afterwards, zeros staying zeros
    #[arg(long, value_name = "N", default_value = "2", value_parser = value_parser!(u32).range(0..))]
    epochs: u32,
    /// Learning rate of Adam meanwhile
    #[arg(long, value_name = "RATE", default_value = "0.0005")]
    lr: f32,
    /// Write the model of the last share to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Directory with the four MNIST files, plain or .gz [default: data/mnist]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Which weights compete.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// All of the model
    Global,
    /// Those of each layer
    Layer,
}

/// Prunes and trains for each share.
pub fn run(args: &Args, console: &Console) -> Result<()> {
    let exact = Mlp::load(&args.model)?;
    let data = Mnist::load(files::data_dir(args.data.as_deref())?)?;
    if let Some(file) = &args.out {
        files::prepare(file)?;
    }
    let engine = Kernels::active()?;
    let accuracy = |model: &Mlp| -> Result<f64> {
        let model = Model::exact(model.clone())?;
        Ok(model::accuracy(&model.probabilities(&data.test)?, model.outputs(), &data.test))
    };
    let scope = if args.scope == Which::Global { Scope::Global } else { Scope::PerLayer };
    let before = accuracy(&exact)?;
    let cells = |sparsity: f64, left: u64, pruned: String, tuned: f64| {
        let change = format!("{:+.2}", 100.0 * (tuned - before));
        [format!("{:.1} %", 100.0 * sparsity), thousands(left), pruned, format!("{tuned:.4}"), change]
    };
    let weights = exact.parameters().step_by(2).map(|w| w.len() as u64).sum::<u64>();
    let mut table = Table::new(&["sparsity", "weights left", "pruned", "trained on", "points"]);
    table.row(cells(prune::sparsity(&exact), weights, format!("{before:.4}"), before));
    let mut last = None;
    for &share in &args.sparsity {
        let mut model = prune::prune(&exact, share, scope)?;
        let pruned = accuracy(&model)?;
        if args.epochs > 0 {
            let optimiser = Adam { learning_rate: args.lr, ..Adam::default() }.into();
            let recipe = Recipe { epochs: args.epochs as usize, seed: 1, optimiser, ..Recipe::default() };
            let mut trainer = Trainer::new(model, recipe, &engine)?.keep_zeros();
            trainer.fit(&data.train, &mut ())?;
            model = trainer.into_model();
        }
        let (sparsity, tuned) = (prune::sparsity(&model), accuracy(&model)?);
        let left = weights - (sparsity * weights as f64).round() as u64;
        table.row(cells(sparsity, left, format!("{pruned:.4}"), tuned));
        last = Some(model);
    }
    console.print(table)?;
    if let Some(file) = &args.out {
        last.ok_or(Error::Usage("--out needs a --sparsity"))?.save(file)?;
    }
    Ok(())
}
