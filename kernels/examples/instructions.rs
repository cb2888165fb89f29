//! What `ci/instructions` counts: one warm call of the named case, under `--toggle-collect` of [`counted`].

use kernels::{Activation, Backend, Gemm, Layout, MatMut, MatRef};

/// What callgrind looks for.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

fn main() {
    let name = std::env::args().nth(1).expect("the name of a case, such as 64x64x64, plan-8x8x8 or tanh");
    let (how, sizes) = name.split_once('-').unwrap_or(("", &name));
    let mut work: Box<dyn FnMut()> = match sizes.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>() {
        Ok(sizes) => {
            let [m, k, n] = sizes[..] else { panic!("{name}: three sizes are wanted") };
            let (a, b, mut c) = (vec![0.5_f32; m * k], vec![0.25; k * n], vec![0.0; m * n]);
            let layouts = (Layout::row_major(m, k), Layout::row_major(k, n), Layout::row_major(m, n));
            let plan = (how == "plan").then(|| Gemm::new().prepare(layouts.0, layouts.1, layouts.2).unwrap());
            if how == "turned" {
                // A call of its own: the others know the order of B when they are compiled.
                return counted_when_warm(&mut || {
                    let (a, b) = (MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, n, k).unwrap().t());
                    Gemm::new().run(a, b, MatMut::new(&mut c, m, n).unwrap()).unwrap();
                });
            }
            Box::new(move || {
                let (a, b) = (MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, k, n).unwrap());
                let c = MatMut::new(&mut c, m, n).unwrap();
                match &plan {
                    Some(plan) => Gemm::new().plan(plan).run(a, b, c).unwrap(),
                    None => Gemm::new().run(a, b, c).unwrap(),
                }
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
    counted_when_warm(&mut *work);
}

/// Runs it once to warm up, and once more to be counted.
fn counted_when_warm(work: &mut dyn FnMut()) {
    work();
    counted(work);
}
