//! Classifies images with a model from a file: all that a program needs of `nn` to use what `harness train` saved.
//!
//! ```sh
//! cargo run --release -- MODEL DIRECTORY-OF-MNIST INDEX..
//! ```

use nn::{Mlp, Mnist, Predictor, Ranked};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, directory, indices @ ..] = arguments.as_slice() else {
        return Err("usage: embed MODEL DIRECTORY-OF-MNIST INDEX..".into());
    };
    // Once: the file is checked, and the weights are made ready. A predictor can be shared by all threads.
    let model = Mlp::load(model)?;
    let predictor = Predictor::new(&model)?;
    let test = Mnist::load(directory)?.test;
    println!("on {}", kernels::Backend::active()?.name());
    for index in indices {
        let index: usize = index.parse()?;
        if index >= test.len() {
            return Err(format!("there is no image {index}, only {}", test.len()).into());
        }
        // For each request: no allocation, the same bits alone as in a batch.
        let mut best = [Ranked::default(); 3];
        predictor.top_k(test.image(index), best.len(), &mut best)?;
        let best = best.map(|Ranked { class, probability }| format!("{class} ({:.2} %)", 100.0 * probability));
        println!("image {index} shows {}: {}", test.labels()[index], best.join(", "));
    }
    Ok(())
}
