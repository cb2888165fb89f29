//! `harness prune`: a saved model with most weights at 0, trained on, and what that costs.

use super::{data, json, parse};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::files;
use crate::interrupt;
use crate::model::{self, Model};
use crate::record::Head;
use crate::report::{Table, thousands};
use clap::{ValueEnum, value_parser};
use nn::prune::{self, Scope};
use nn::{Adam, Dense, Kernels, Mlp, Recipe, Trainer};
use serde::Serialize;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  harness prune target/harness/model.safetensors --curve pruning.svg
  harness prune model.safetensors --sparsity 0.8 --out sparse.safetensors";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The model, as `harness train` saves it
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Share of the weights that become 0, one after the other
    #[arg(long, value_name = "SHARE,..", value_delimiter = ',', default_value = "0.5,0.8,0.9,0.95")]
    #[arg(value_parser = parse::share)]
    sparsity: Vec<f64>,
    /// Which weights compete for being kept
    #[arg(long, value_enum, default_value_t = Which::Global)]
    scope: Which,
    /// Times to go through the training set afterwards, zeros staying zeros
    #[arg(long, value_name = "N", default_value = "2", value_parser = value_parser!(u32).range(0..))]
    epochs: u32,
    /// Learning rate of Adam meanwhile
    #[arg(long, value_name = "RATE", default_value = "0.0005", value_parser = parse::rate)]
    lr: f32,
    /// Write the model of the last share to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draw accuracy over sparsity into this file
    #[arg(long, value_name = "FILE.svg")]
    curve: Option<PathBuf>,
    #[command(flatten)]
    data: data::Args,
    #[command(flatten)]
    json: json::Args,
}

/// Which weights compete.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Which {
    /// All of the model
    Global,
    /// Those of each layer
    Layer,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    head: Head,
    model: &'a Path,
    scope: Which,
    epochs: u32,
    learning_rate: f32,
    weights: u64,
    /// The model as it was first, then one for each share.
    results: Vec<Pruned>,
}

/// What a share of zeros costs.
#[derive(Serialize)]
struct Pruned {
    /// Share of the weights that are 0.
    sparsity: f64,
    /// The others.
    weights_left: u64,
    /// On the test images, right after pruning.
    pruned: f64,
    /// The same, trained on.
    trained_on: f64,
}

/// Prunes and trains for each share.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    let (data, outputs) = (args.data.files(), args.out.iter().chain(&args.curve));
    args.json.prepare(data.iter().chain([&args.model]), outputs, console)?;
    let exact = Mlp::load(&args.model)?;
    let data = args.data.load()?;
    data.test.fits(exact.inputs(), exact.outputs())?;
    let engine = Kernels::active()?;
    let accuracy = |model: &Mlp| -> Result<f64> {
        let model = Model::exact(model.clone())?;
        Ok(model::accuracy(&model.probabilities(&data.test)?, model.outputs(), &data.test))
    };
    let scope = if args.scope == Which::Global { Scope::Global } else { Scope::PerLayer };
    let weights = exact.layers().iter().map(Dense::weight_count).sum::<usize>() as u64;
    let result = |sparsity: f64, pruned: f64, trained_on: f64| {
        let weights_left = weights - (sparsity * weights as f64).round() as u64;
        Pruned { sparsity, weights_left, pruned, trained_on }
    };
    let before = accuracy(&exact)?;
    let (mut results, mut last) = (vec![result(prune::sparsity(&exact), before, before)], None);
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
        results.push(result(prune::sparsity(&model), pruned, accuracy(&model)?));
        last = Some(model);
    }
    let mut table = Table::new(&["sparsity", "weights left", "pruned", "trained on", "points"]);
    for Pruned { sparsity, weights_left, pruned, trained_on } in &results {
        let change = format!("{:+.2}", 100.0 * (trained_on - before));
        let share = |x: &f64| format!("{x:.4}");
        // A few weights that are left are not none.
        let places = if (0.9995..1.0).contains(sparsity) { 4 } else { 1 };
        let sparsity = format!("{:.places$} %", 100.0 * sparsity);
        table.row([sparsity, thousands(*weights_left), share(pruned), share(trained_on), change]);
    }
    console.print(table)?;
    if let Some(file) = &args.curve {
        files::write_whole(file, &curve(&results))?;
    }
    if let Some(file) = &args.out {
        let model = last.ok_or(Error::Usage("--out needs a --sparsity"))?;
        interrupt::whole(|| model.save(file))?;
    }
    let record = Record {
        head: Head::new("prune"),
        model: &args.model,
        scope: args.scope,
        epochs: args.epochs,
        learning_rate: args.lr,
        weights,
        results,
    };
    args.json.write(&record, console)
}

/// Accuracy over sparsity, trained on and not, as an SVG that follows light and dark pages.
fn curve(results: &[Pruned]) -> String {
    const WIDTH: f64 = 480.0;
    const HEIGHT: f64 = 240.0;
    let points = |accuracy: fn(&Pruned) -> f64| results.iter().map(|r| (r.sparsity, accuracy(r))).collect::<Vec<_>>();
    let (after, cut) = (points(|r| r.trained_on), points(|r| r.pruned));
    let lowest = after.iter().chain(&cut).map(|&(_, accuracy)| accuracy).fold(0.9, f64::min);
    let floor = (lowest * 10.0).floor() / 10.0;
    let x = |sparsity: f64| 60.0 + sparsity * WIDTH;
    let y = |accuracy: f64| 20.0 + (1.0 - accuracy) / (1.0 - floor) * HEIGHT;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 560 310\" width=\"560\" height=\"310\" role=\"img\" \
         font-family=\"system-ui,sans-serif\" font-size=\"13\">\n<title>Accuracy over sparsity</title>\n<style>\
         svg{color:#1c1c1a;--a:#2a6fdb;--b:#c2571a}\
         @media(prefers-color-scheme:dark){svg{color:#eeede8;--a:#6ea3f5;--b:#e58a55}}\
         text{fill:currentColor}.grid{stroke:currentColor;opacity:.15}</style>\n",
    );
    let text = |x: f64, y: f64, anchor: &str, text: &str| {
        format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
    };
    for step in 0..=5 {
        let accuracy = floor + (1.0 - floor) * f64::from(step) / 5.0;
        let (at, end) = (y(accuracy), x(1.0));
        svg += &format!("<path class=\"grid\" d=\"M{} {at:.1}H{end:.1}\"/>\n", x(0.0));
        svg += &text(52.0, at + 4.0, "end", &format!("{:.0} %", 100.0 * accuracy));
        let sparsity = f64::from(step) / 5.0;
        svg += &text(x(sparsity), 280.0, "middle", &format!("{:.0} %", 100.0 * sparsity));
    }
    svg += &text(x(0.5), 302.0, "middle", "weights that are 0");
    for (points, name, colour, line) in [(cut, "pruned", "--b", 240.0), (after, "trained on", "--a", 220.0)] {
        let path: Vec<String> = points.iter().map(|&(s, a)| format!("{:.1},{:.1}", x(s), y(a))).collect();
        let path = path.join(" ");
        svg += &format!("<polyline points=\"{path}\" fill=\"none\" stroke=\"var({colour})\" stroke-width=\"2\"/>\n");
        for &(sparsity, accuracy) in &points {
            svg += &format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"var({colour})\"/>\n",
                x(sparsity),
                y(accuracy)
            );
        }
        svg += &format!("<circle cx=\"76\" cy=\"{:.1}\" r=\"5\" fill=\"var({colour})\"/>\n", line - 4.0);
        svg += &text(88.0, line, "start", name);
    }
    svg + "</svg>\n"
}
