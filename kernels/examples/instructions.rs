//! What `ci/instructions` counts: one warm call of the named case, under `--toggle-collect` of [`counted`].

use kernels::{Activation, Backend, Gemm, MatMut, MatRef};

/// Run once to warm up, and once more to be counted.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

fn main() {
    let name = std::env::args().nth(1).expect("the name of a case, such as 64x64x64 or tanh");
    let mut work: Box<dyn FnMut()> = match name.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>() {
        Ok(sizes) => {
            let [m, k, n] = sizes[..] else { panic!("{name}: three sizes are wanted") };
            let (a, b, mut c) = (vec![0.5_f32; m * k], vec![0.25; k * n], vec![0.0; m * n]);
            Box::new(move || {
                let (a, b) = (MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, k, n).unwrap());
                Gemm::new().run(a, b, MatMut::new(&mut c, m, n).unwrap()).unwrap();
            })
        }
        Err(_) => {
            let f = match name.as_str() {
                "tanh" => Activation::Tanh,
                "gelu" => Activation::Gelu,
                "silu" => Activation::Silu,
                _ => panic!("{name}: no such case"),
            };
            let (backend, x) = (Backend::active().unwrap(), [0.5_f32; 4096]);
            let mut y = x;
            Box::new(move || backend.map_into(f, &x, &mut y).unwrap())
        }
    };
    work();
    counted(&mut *work);
}
