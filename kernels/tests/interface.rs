//! What the library tells about itself, and calls that no other test makes.

use kernels::reference::{Entry, definition};
use kernels::{
    Activation, Backend, BatchMut, BatchRef, Blocking, Error, Function, Gemm, Layout, MatMut, MatRef, Profile, Team,
    Tuning, Workspace,
};

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7 % 23) as f32 * 0.25 - 2.5).collect()
}

#[test]
fn the_table_tells_every_row() {
    let rows: Vec<_> = Backend::table().collect();
    assert!(rows.iter().any(|&(name, _, supported)| name == "plain" && supported), "{rows:?}");
    for backend in Backend::supported() {
        assert!(rows.iter().any(|&(name, about, supported)| name == backend.name() && !about.is_empty() && supported));
        for (rows, cols) in [backend.tile::<f32>(), backend.tile::<f64>()] {
            assert!((1..=64).contains(&rows) && (1..=512).contains(&cols), "{backend:?}: {rows}x{cols}");
        }
        // Blocks in use and those of the model: something to compute with.
        for tuning in [backend.tuning::<f32>(), backend.model::<f32>(), backend.tuning::<f64>(), backend.model::<f64>()]
        {
            assert!(tuning.values().iter().all(|&value| value > 0), "{backend:?}: {tuning:?}");
        }
    }
    let foreign = rows.iter().find(|(_, _, supported)| !supported);
    if let Some((name, ..)) = foreign {
        let error = Backend::by_name(name).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("plain"), "{error}");
    }
}

#[test]
fn an_activation_that_a_type_lacks_is_an_error() {
    let (a, mut c) = ([2.0, -3.0], [0.0; 4]);
    let mut run = |activation| {
        let (a, b) = (MatRef::new(&a, 2, 1).unwrap(), MatRef::new(&a, 1, 2).unwrap());
        Gemm::<f64>::new().activation(activation).run(a, b, MatMut::new(&mut c, 2, 2).unwrap())
    };
    let error = run(Activation::Tanh).unwrap_err();
    assert!(matches!(error, Error::Activation { .. }) && error.to_string().contains("tanh"), "{error}");
    run(Activation::Relu).unwrap();
    assert_eq!(c, [4.0, 0.0, 0.0, 9.0]);
}

/// As the table of special values has it, and the definition of a product.
#[test]
fn relu_keeps_the_sign_of_a_zero() {
    for backend in Backend::supported() {
        let (zero, one, mut c) = ([0.0], [1.0], [0.0; 1]);
        let view = |x| MatRef::new(x, 1, 1).unwrap();
        let call = Gemm::<f64>::new().backend(backend).alpha(-1.0).activation(Activation::Relu);
        call.run(view(&zero), view(&one), MatMut::new(&mut c, 1, 1).unwrap()).unwrap();
        let (bias, activation) = (None, Activation::Relu);
        let entry = Entry { a: &zero, b: &one, c: 0.0, alpha: -1.0, beta: 0.0, bias, activation };
        assert_eq!([c[0], definition(&entry)].map(f64::to_bits), [(-0.0f64).to_bits(); 2], "{backend:?}");
    }
}

/// Every route, by the line that tells it.
/// No view can have such sizes, but they can be asked about.
#[test]
fn explain_takes_any_sizes() {
    let sizes = [1, 2, 9, usize::MAX / 2, usize::MAX];
    let layouts = |rows, cols| [Layout::row_major(rows, cols), Layout::col_major(rows, cols)];
    for (m, k, n) in sizes.into_iter().flat_map(|m| sizes.into_iter().flat_map(move |k| sizes.map(|n| (m, k, n)))) {
        for (a, b) in layouts(m, k).into_iter().flat_map(|a| layouts(k, n).map(|b| (a, b))) {
            let text = Gemm::<f32>::new().explain_layouts(a, b, Layout::row_major(m, n)).unwrap().to_string();
            assert!(text.contains("route"), "{text}");
        }
    }
}

#[test]
fn explain_tells_the_route() {
    let dense = Layout::row_major;
    let call = Gemm::<f32>::new();
    let text = |call: Gemm<'_, f32>, a, b, c| call.explain_layouts(a, b, c).unwrap().to_string();
    let plain = |m, k, n| text(call, dense(m, k), dense(k, n), dense(m, n));
    assert!(plain(5, 0, 7).contains("no products"), "{}", plain(5, 0, 7));
    assert!(plain(1, 8, 1).contains("one tile"), "{}", plain(1, 8, 1));
    assert!(plain(300, 300, 1).contains("matrix-vector"), "{}", plain(300, 300, 1));
    assert!(plain(20, 64, 200).contains("direct"), "{}", plain(20, 64, 200));
    if let Ok(avx2) = Backend::by_name("avx2") {
        let few = text(call.backend(avx2), dense(3, 64), Layout::col_major(64, 40), dense(3, 40));
        assert!(few.contains("a few rows"), "{few}");
        for a in [dense(100, 96), Layout::col_major(100, 96)] {
            let columns = text(call.backend(avx2), a, dense(96, 3), dense(100, 3));
            assert!(columns.contains("C has few columns"), "{columns}");
        }
    }
    let copied = text(call, dense(40, 8), Layout::col_major(8, 9), dense(40, 9));
    assert!(copied.contains("B is copied"), "{copied}");
    let text_of_blocks = text(call, dense(300, 300), Layout::col_major(300, 300), dense(300, 300));
    assert!(text_of_blocks.contains("blocked: A is read where it lies, B is packed"), "{text_of_blocks}");
    let (data, mut c) = (numbers(300 * 300), vec![0.0; 300 * 300]);
    let matrix = MatRef::new(&data, 300, 300).unwrap();
    let packed = call.pack_b(matrix).unwrap();
    let came = text(call, dense(300, 300), packed.layout(), dense(300, 300));
    assert!(came.contains("B came packed"), "{came}");
    assert_eq!(packed.shape(), (300, 300));
    assert!(format!("{packed:?}").starts_with("300x300 packed for B on "), "{packed:?}");
    let seen = text(call, dense(300, 300), dense(300, 300), Layout::col_major(300, 300));
    assert!(seen.contains("C' = B' A'"), "{seen}");
    let team = Team::new(2);
    let shared = text(call.par(&team), dense(900, 900), dense(900, 900), dense(900, 900));
    assert!(shared.contains('2'), "{shared}");
    let given = text(call.blocking(Blocking { kc: 1, nc: 1 }), dense(9, 9), dense(9, 9), dense(9, 9));
    assert!(given.contains("given with the call"), "{given}");
    let tuning = Tuning::from_values([1; Tuning::NAMES.len()]);
    let tuned = text(call.tuning(&tuning), dense(300, 300), dense(300, 300), dense(300, 300));
    assert!(tuned.contains("by a tuning given with the call"), "{tuned}");
    // Rows of B that are 2 KiB apart, or 4 where they are fetched ahead, are packed for a third of the rows.
    let tuning = Tuning::from_values([1 << 16, 256, 90, usize::MAX, usize::MAX, usize::MAX]);
    for backend in Backend::supported() {
        let apart = if ["avx512", "amx"].contains(&backend.name()) { 1024 } else { 512 };
        for (m, stride, packed) in [
            (29, apart, false),
            (30, apart, true),
            (89, apart + 16, false),
            (90, apart + 16, true),
            (30, 2 * apart, true),
        ] {
            let b = Layout::with_strides(100, 500, stride, 1);
            let text = text(call.backend(backend).tuning(&tuning), dense(m, 100), b, dense(m, 500));
            assert_eq!(text.contains("B is packed"), packed, "{m} rows of A, {stride} from row to row of B: {text}");
        }
    }
    // What is explained is what runs: a plan of another layout is refused.
    let plan = call.prepare(dense(300, 300), packed.layout(), dense(300, 300)).unwrap();
    let error = call.plan(&plan).run(matrix, matrix, MatMut::new(&mut c, 300, 300).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Plan { .. }) && error.to_string().contains("300x300, packed"), "{error}");
    assert!(!format!("{:?}", Workspace::new()).is_empty());
}

#[test]
fn layouts_are_checked_and_printed() {
    assert_eq!(Layout::with_strides(2, 3, -4, 1).to_string(), "2x3 with strides (-4, 1)");
    assert!(Layout::col_major(4, 5).check_distinct().is_ok());
    let error = Layout::with_strides(4, 5, 2, 1).check_distinct().unwrap_err().to_string();
    assert_eq!(error, "elements of a mutable 4x5 view with strides (2, 1) overlap");
    let mut x = numbers(12);
    assert_eq!(format!("{:?}", MatRef::new(&x, 3, 4).unwrap()), "3x4 view with strides (4, 1)");
    let mut whole = MatMut::new(&mut x, 3, 4).unwrap();
    assert_eq!(format!("{whole:?}"), "3x4 view with strides (4, 1)");
    whole.reborrow().sub(1..3, 2..4).unwrap().set(1, 0, 9.0);
    assert_eq!(whole.get(2, 2), 9.0);
    let error = whole.sub(0..4, 0..1).unwrap_err().to_string();
    assert_eq!(error, "rows 0..4 do not lie in a matrix with 3 rows");
}

#[test]
fn a_batch_of_one_needs_no_stride() {
    let mut x = numbers(6);
    assert!(BatchMut::strided(&mut x, 1, 0, 2, 3).is_ok());
    assert!(BatchMut::strided(&mut x, 2, 0, 1, 3).is_err(), "two matrices in one place");
}

/// Matrices by pointers, forwards and backwards, and transposed batches.
#[test]
fn batches_by_pointer() {
    let (count, m, k, n) = (3, 2, 4, 5);
    let (a, b) = (numbers(count * m * k), numbers(k * n));
    let mut want = vec![0.0; count * m * n];
    for i in 0..count {
        let (a, b) = (MatRef::new(&a[i * m * k..][..m * k], m, k).unwrap(), MatRef::new(&b, k, n).unwrap());
        Gemm::new().run(a, b, MatMut::new(&mut want[i * m * n..][..m * n], m, n).unwrap()).unwrap();
    }
    let mut c = vec![0.0; count * m * n];
    // SAFETY: the matrices lie one after the other in their vectors, and no two share an element.
    let (first_a, first_c) = unsafe {
        (
            BatchRef::from_raw(MatRef::from_raw(a.as_ptr(), m, k, k as isize, 1), count, m * k),
            BatchMut::from_raw(MatMut::from_raw(c.as_mut_ptr(), m, n, n as isize, 1), count, m * n),
        )
    };
    Gemm::new().run_batch(first_a, MatRef::new(&b, k, n).unwrap(), first_c).unwrap();
    assert_eq!(c, want);
    // C' = B' A', transposed back and forth.
    let (mut turned, b) = (vec![0.0; count * m * n], BatchRef::from(MatRef::new(&b, k, n).unwrap()).t());
    let a = BatchRef::strided(&a, count, m * k, m, k).unwrap().t();
    Gemm::new().run_batch(b, a, BatchMut::strided(&mut turned, count, m * n, n, m).unwrap()).unwrap();
    for (turned, want) in turned.chunks(m * n).zip(want.chunks(m * n)) {
        assert!((0..m).all(|i| (0..n).all(|j| turned[j * m + i] == want[i * n + j])));
    }
}

#[test]
fn short_names_and_measuring_loops() {
    for backend in Backend::supported() {
        let (mut x, mut y) = (numbers(100), numbers(100));
        backend.exp(&mut x);
        backend.map(Function::Exp, &mut y);
        assert_eq!(x, y);
        backend.ln(&mut x);
        backend.map(Function::Ln, &mut y);
        assert_eq!(x, y);
        // Operations of a round are a whole number of vectors, each twice (multiply, add).
        let one = backend.fma_peak_loop(1);
        assert!(one >= 2 && backend.fma_peak_loop(10) == 10 * one && backend.fma_peak_loop(0) == 0);
        let (read, all) = (backend.read_peak_loop(&numbers(1000)), 4 * 1000);
        assert!(read <= all && read > all - 4 * 16 * 8, "{backend:?} read {read} bytes");
        assert_eq!(backend.read_peak_loop(&[]), 0);
    }
}

/// Files of profiles: read, missing, a folder, damaged.
#[test]
fn profiles_are_read_from_files() {
    let folder = std::env::temp_dir().join(format!("kernels-profiles-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("profile");
    let mut profile = Profile::new();
    profile.set::<f64>(Backend::active().unwrap(), Tuning::from_values([7; Tuning::NAMES.len()]));
    std::fs::write(&file, profile.to_string()).unwrap();
    assert_eq!(Profile::load(&file).unwrap(), profile);
    std::fs::write(&file, &profile.to_string()[..20]).unwrap();
    for (path, why) in [(&file, "line "), (&folder, "not a file of at most"), (&folder.join("missing"), "o such file")]
    {
        let error = Profile::load(path).unwrap_err().to_string();
        assert!(error.contains(&*path.to_string_lossy()) && error.contains(why), "{error}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
