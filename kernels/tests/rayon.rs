//! The executor of the feature `rayon`: the same bits, from outside and inside of a pool.

use kernels::{Gemm, MatMut, MatRef, Par, Rayon, Team};

#[test]
fn rayon_gives_the_bits_of_one_thread_nested_too() {
    let (m, k, n) = (150, 300, 170);
    let a: Vec<f32> = (0..m * k).map(|i| (i * 7 % 23) as f32 * 0.3 - 3.0).collect();
    let b: Vec<f32> = (0..k * n).map(|i| (i * 5 % 19) as f32 * 0.7 - 6.0).collect();
    let product = |par: &dyn Par| {
        let mut c = vec![f32::NAN; m * n];
        let (a, b) = (MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, k, n).unwrap());
        Gemm::new().par(par).run(a, b, MatMut::new(&mut c, m, n).unwrap()).unwrap();
        c
    };
    let want = product(&kernels::Serial);
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| Rayon.threads()), threads);
        assert_eq!(pool.install(|| product(&Rayon)), want);
        // From inside jobs of the same pool: no second pool, no deadlock.
        let (x, y) = pool.install(|| rayon::join(|| product(&Rayon), || product(&Rayon)));
        assert!(x == want && y == want);
        // A team inside the pool, and the pool inside a team.
        let team = Team::new(2);
        let (x, y) = pool.install(|| rayon::join(|| product(&team), || product(&team)));
        assert!(x == want && y == want);
        team.run(4, &|_| assert!(pool.install(|| product(&Rayon)) == want));
    }
}
