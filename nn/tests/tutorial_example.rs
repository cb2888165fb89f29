//! The worked example of the tutorial that the reference program comes from, with its numbers put right.
//!
//! A network with two inputs, three hidden units with ReLU and one output, trained with the squared error. The tutorial
//! writes its first layer as `W·x + b` with one row of `W` for each hidden unit:
//!
//! ```text
//! W = [[.1, .2], [.3, .4], [.5, .6]]    b = [.1, .2, .3]    x = [.5, .5]
//! ```
//!
//! Here samples are rows, so the same layer reads `x·w + b` with `w = Wᵀ`. The tutorial's own result for the hidden
//! layer, [.55, .65, .75], is wrong, and so are the sign of its dL/dy, the missing transpose in dL/dh and the
//! element-wise products in the places of outer products. The output layer and the target below are ours.

use nn::engine::Shape;
use nn::{Activation, Engine, Kernels, Result};

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    let close = found.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-6);
    assert!(close && found.len() == expected.len(), "{what} is {found:?}, not {expected:?}");
}

#[test]
fn one_step_of_the_2_3_1_network() -> Result<()> {
    let engine = Kernels::active()?;
    let hidden = Shape { rows: 1, inputs: 2, outputs: 3 };
    let output = Shape { rows: 1, inputs: 3, outputs: 1 };
    let x = [0.5, 0.5];
    let target = 1.0;
    let mut w1 = [0.1, 0.3, 0.5, 0.2, 0.4, 0.6];
    let mut b1 = [0.1, 0.2, 0.3];
    let mut w2 = [0.7, 0.8, 0.9];
    let mut b2 = [0.1];

    // Forward. h₁ = relu(.1·.5 + .2·.5 + .1) = .25, h₂ = .15 + .2 + .2 = .55, h₃ = .25 + .3 + .3 = .85
    let mut h = [0.0; 3];
    engine.dense(hidden, &x, &w1, &b1, Activation::Relu, &mut h)?;
    assert_close("h", &h, &[0.25, 0.55, 0.85]);
    // y = .7·.25 + .8·.55 + .9·.85 + .1 = .175 + .44 + .765 + .1
    let mut y = [0.0];
    engine.dense(output, &h, &w2, &b2, Activation::Identity, &mut y)?;
    assert_close("y", &y, &[1.48]);
    // L = (y - target)² = .48²
    assert_close("L", &[(y[0] - target) * (y[0] - target)], &[0.2304]);

    // Backward. dL/dy = 2(y - target): positive, since y is too large.
    let dy = [2.0 * (y[0] - target)];
    assert_close("dy", &dy, &[0.96]);
    // dL/dw₂ = hᵀ·dy, dL/db₂ = dy
    let (mut dw2, mut db2) = ([0.0; 3], [0.0]);
    engine.weight_gradient(output, &h, &dy, &mut dw2)?;
    engine.bias_gradient(output, &dy, &mut db2)?;
    assert_close("dw2", &dw2, &[0.24, 0.528, 0.816]);
    assert_close("db2", &db2, &[0.96]);
    // dL/dh = dy·w₂ᵀ, and all of h is positive, so ReLU lets it through.
    let mut dz = [0.0; 3];
    engine.input_gradient(output, &dy, &w2, &mut dz)?;
    engine.activation_gradient(Activation::Relu, &h, &mut dz)?;
    assert_close("dz", &dz, &[0.672, 0.768, 0.864]);
    // dL/dw₁ = xᵀ·dz, an outer product: both rows are half of dz. dL/db₁ = dz
    let (mut dw1, mut db1) = ([0.0; 6], [0.0; 3]);
    engine.weight_gradient(hidden, &x, &dz, &mut dw1)?;
    engine.bias_gradient(hidden, &dz, &mut db1)?;
    assert_close("dw1", &dw1, &[0.336, 0.384, 0.432, 0.336, 0.384, 0.432]);
    assert_close("db1", &db1, &[0.672, 0.768, 0.864]);

    // One step of gradient descent with rate .1.
    for (parameters, gradient) in
        [(&mut w1[..], &dw1[..]), (&mut b1[..], &db1[..]), (&mut w2[..], &dw2[..]), (&mut b2[..], &db2[..])]
    {
        for (p, g) in parameters.iter_mut().zip(gradient) {
            *p -= 0.1 * g;
        }
    }
    assert_close("w2", &w2, &[0.676, 0.7472, 0.8184]);

    // h = [.1492, .4348, .7204], y = .1008592 + .32488256 + .58957536 + .004: nearer to 1.
    engine.dense(hidden, &x, &w1, &b1, Activation::Relu, &mut h)?;
    engine.dense(output, &h, &w2, &b2, Activation::Identity, &mut y)?;
    assert_close("h", &h, &[0.1492, 0.4348, 0.7204]);
    assert_close("y", &y, &[1.019_317_1]);
    Ok(())
}
