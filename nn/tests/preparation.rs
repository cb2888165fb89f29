//! From raw tables to parts that can be trained on.

use nn::{
    Cleaner, Column, CsvFormat, Dataset, Error, Kernels, Missing, Mlp, Recipe, Repairs, Result, Scaler, Scaling, Table,
    Targets, Trainer,
};
use proptest::prelude::*;
use std::fs;

/// Reads a table from a text; errors come without the name of the file.
fn read(text: &str, format: &CsvFormat) -> std::result::Result<Table, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("table.csv");
    fs::write(&file, text).unwrap();
    Table::from_csv(&file, format).map_err(|error| error.to_string().replace(&file.display().to_string(), "table"))
}

#[test]
fn tables_are_read() {
    let text = "width, kind ,\"height, mm\"\n1.5,iris,-2e3\n,rose,?\nNA,iris,7\n";
    let by_name = CsvFormat { target: Column::Name("kind".into()), ..CsvFormat::default() };
    for format in [by_name, CsvFormat { target: Column::Index(1), ..CsvFormat::default() }] {
        let table = read(text, &format).unwrap();
        assert_eq!(table.features, ["width", "height, mm"]);
        assert_eq!(table.classes, ["iris", "rose"]);
        assert_eq!(table.data.labels(), [0, 1, 0]);
        let expected = [1.5, -2e3, f32::NAN, f32::NAN, f32::NAN, 7.0].map(f32::to_bits);
        assert_eq!(table.data.numbers().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected);
    }
    // No header, another delimiter, numbers as classes in their order; and as values.
    let mut format = CsvFormat { delimiter: b';', header: false, ..CsvFormat::default() };
    let table = read("1;10\n2;9\n3;10\n", &format).unwrap();
    assert_eq!((table.features, table.classes), (vec!["0".into()], vec!["9".into(), "10".into()]));
    assert_eq!(table.data.labels(), [1, 0, 1]);
    format.regression = true;
    let table = read("1;10\n2;\n", &format).unwrap();
    let Targets::Values { values, width: 1 } = table.data.targets() else { panic!() };
    assert!(values[0] == 10.0 && values[1].is_nan() && table.classes.is_empty());
}

#[test]
fn tables_that_are_wrong_are_errors() {
    let named = |name: &str| CsvFormat { target: Column::Name(name.into()), ..CsvFormat::default() };
    let last = CsvFormat::default();
    for (text, format, expected) in [
        ("a,b\n1,x\n2,y\nlots,x\n", &last, "table, line 4, column a: holds \"lots\", which is no number"),
        ("a,b\n1,x\n2,\n", &last, "table, line 3, column b: names no class"),
        ("a,b\n1,x\n", &named("c"), "table, line 1, column Name(\"c\"): does not exist"),
        ("a,b\n1,x,3\n", &last, "table, line 2, column : "),
        ("", &last, "table, line 1, column Last: does not exist"),
        ("a,b\r\n1,x\r\nlots,y\r\n", &last, "table, line 3, column a: "),
        ("a,b\n1,x\n\nlots,y\n", &last, "table, line 4, column a: "),
        ("a,b\r1,x\rlots,y\r", &last, "table, line 3, column a: "),
        ("a,b\r\n1,x\r\n1,x,3\r\n", &last, "table, line 3, column : "),
        ("a,b\n1,x\n2,\"y\n3,x\n4,y\n", &last, "table, line 3, column b: names a class with a line break"),
    ] {
        let error = read(text, format).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = Table::from_csv("/nowhere/at all.csv", &last).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/at all.csv, line 0, column : "), "{error}");
}

fn rows(numbers: &[f32], width: usize) -> Dataset {
    let labels = vec![0; numbers.len() / width];
    Dataset::from_numbers(numbers.to_vec(), width, Targets::Classes(labels)).unwrap()
}

#[test]
fn cleaning_by_hand() -> Result<()> {
    const NAN: f32 = f32::NAN;
    let train = rows(&[1.0, 5.0, NAN, 5.0, 3.0, f32::INFINITY, 8.0, 5.0], 2);
    let cleaned = |missing, clip| {
        let (data, repairs) = Cleaner::fit(&train, missing, clip)?.apply(&train)?;
        Ok::<_, Error>((data.numbers().unwrap().to_vec(), repairs))
    };
    assert_eq!(Cleaner::fit(&train, Missing::Drop, 0.0)?.constant_features(), [1]);
    let imputed = |imputed| Repairs { imputed, ..Repairs::default() };
    assert_eq!(cleaned(Missing::Drop, 0.0)?, (vec![1.0, 5.0, 8.0, 5.0], Repairs { dropped: 2, ..Repairs::default() }));
    assert_eq!(cleaned(Missing::Mean, 0.0)?, (vec![1.0, 5.0, 4.0, 5.0, 3.0, 5.0, 8.0, 5.0], imputed(2)));
    assert_eq!(cleaned(Missing::Median, 0.0)?, (vec![1.0, 5.0, 3.0, 5.0, 3.0, 5.0, 8.0, 5.0], imputed(2)));
    assert_eq!(cleaned(Missing::Constant(-1.0), 0.0)?, (vec![1.0, 5.0, -1.0, 5.0, 3.0, -1.0, 8.0, 5.0], imputed(2)));
    // The quartiles of 1, 3, 8 are 2 and 5.5.
    let (numbers, repairs) = cleaned(Missing::Median, 0.25)?;
    assert_eq!(numbers, [2.0, 5.0, 3.0, 5.0, 3.0, 5.0, 5.5, 5.0]);
    assert_eq!(repairs, Repairs { dropped: 0, imputed: 2, clipped: 2 });
    // What is imputed is what was asked for.
    let (numbers, repairs) = cleaned(Missing::Constant(-9.0), 0.25)?;
    assert_eq!(numbers, [2.0, 5.0, -9.0, 5.0, 3.0, -9.0, 5.5, 5.0]);
    assert_eq!(repairs, Repairs { dropped: 0, imputed: 2, clipped: 2 });
    // Fitted on the training part alone.
    let (other, _) = Cleaner::fit(&train, Missing::Mean, 0.25)?.apply(&rows(&[NAN, 99.0], 2))?;
    assert_eq!(other.numbers().unwrap(), [4.0, 5.0]);
    // A target that is missing can't be made up.
    let targets = Targets::Values { values: vec![1.0, NAN], width: 1 };
    let data = Dataset::from_numbers(vec![0.0; 4], 2, targets)?;
    assert_eq!(Cleaner::fit(&train, Missing::Mean, 0.0)?.apply(&data)?.0.len(), 1);

    for (found, expected) in [
        (Cleaner::fit(&train, Missing::Mean, 0.5).map(|_| ()), "clip is 0.5, but must be in [0, 0.5)"),
        (Cleaner::fit(&rows(&[NAN], 1), Missing::Mean, 0.0).map(|_| ()), "feature 0 of <memory> has no value"),
        (
            Scaler::fit(&train, Scaling::Standard).map(|_| ()),
            "feature 0 of <memory> is not finite in every sample: clean it first",
        ),
        (
            Scaler::fit(&Dataset::new(vec![0; 4], vec![0], 2, 2)?, Scaling::Standard).map(|_| ()),
            "the samples of <memory> are images, not numbers",
        ),
    ] {
        assert_eq!(found.unwrap_err().to_string(), expected);
    }
    Ok(())
}

/// A model with a scaler gives for raw features what one without gives for scaled ones, also after a visit to a file.
#[test]
fn models_hold_their_scaler() -> Result<()> {
    let engine = Kernels::active()?;
    // Mean 4 and deviation 3; smallest 1, largest 7; and a constant.
    let raw = rows(&[1.0, 5.0, 7.0, 5.0, 1.0, 5.0, 7.0, 5.0], 2);
    for (scaling, low, high, constant) in [
        (Scaling::Standard, -1.0, 1.0, 0.0),
        (Scaling::Range(0.0, 1.0), 0.0, 1.0, 0.0),
        (Scaling::Range(-1.0, 1.0), -1.0, 1.0, -1.0),
    ] {
        let scaled = rows(&[low, constant, high, constant].repeat(2), 2);
        let plain = Mlp::new(&[2, 4, 2], 0)?;
        let scaler = Scaler::fit(&raw, scaling)?;
        let model = plain.clone().with_scaler(scaler)?.with_labels(["no", "yes"])?;
        assert_eq!(model.run(&engine, &raw)?, plain.run(&engine, &scaled)?);

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model");
        let fit = |model: Mlp, data| -> Result<Mlp> {
            let mut trainer = Trainer::new(model, Recipe::default(), &engine)?.checkpoints(&file);
            trainer.fit(data, &mut ())?;
            Ok(trainer.into_model())
        };
        let expected = fit(plain, &scaled)?.run(&engine, &scaled)?;
        assert_eq!(fit(model, &raw)?.run(&engine, &raw)?, expected);
        let model = Mlp::load(&file)?;
        assert_eq!(model.run(&engine, &raw)?, expected);
        assert_eq!(model.labels(), ["no", "yes"]);
    }
    let scaler = Scaler::fit(&raw, Scaling::Standard)?;
    assert!(Mlp::new(&[3, 2], 0)?.with_scaler(scaler).is_err());
    for (labels, problem) in [
        (&["a"][..], "the number of names is 1, but the model has 2 classes"),
        (&["a", "a"], "the name of class 1, \"a\", is that of another class too"),
        (&["a", " "], "the name of class 1, \" \", is empty"),
        (&["\u{1b}[2J", "b"], "the name of class 0, \"\\u{1b}[2J\", has a control character"),
    ] {
        let error = Mlp::new(&[3, 2], 0)?.with_labels(labels.iter().copied()).err();
        assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(problem));
    }
    Ok(())
}

#[test]
fn splits_out_of_range_are_errors() -> Result<()> {
    let data = rows(&[0.0; 10], 1);
    for (shares, expected) in [
        (&[0.5, 0.6][..], "sum of shares is 1.1, but must be 1"),
        (&[1.5, -0.5], "share is 1.5, but must be in [0, 1]"),
        (&[], "sum of shares is 0, but must be 1"),
    ] {
        assert_eq!(data.split(shares, false, 0).unwrap_err().to_string(), expected);
    }
    for count in [0, 1, 11] {
        assert!(data.folds(count, false, 0).is_err());
    }
    assert_ne!(data.parts(&[0.5, 0.5], false, 0)?, data.parts(&[0.5, 0.5], false, 1)?);
    assert_eq!(data.split(&[0.7, 0.3], false, 0)?.iter().map(Dataset::len).collect::<Vec<_>>(), [7, 3]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    /// No sample is lost and none is in two parts; each class has its share.
    #[test]
    fn parts_make_up_the_whole(labels in prop::collection::vec(0u32..4, 2..80), seed: u64, stratified: bool, cut in 0.0..1.0, k in 2usize..6) {
        let data = Dataset::from_numbers(vec![0.0; labels.len()], 1, Targets::Classes(labels.clone())).unwrap();
        let whole: Vec<usize> = (0..labels.len()).collect();
        let count = |part: &[usize], class| part.iter().filter(|&&i| labels[i] == class).count() as f64;
        let shares = [cut, (1.0 - cut) / 2.0, (1.0 - cut) / 2.0];
        let parts = data.parts(&shares, stratified, seed).unwrap();
        let mut all = parts.concat();
        all.sort_unstable();
        prop_assert_eq!(&all, &whole);
        for (part, share) in parts.iter().zip(shares) {
            if stratified {
                for class in 0..4 {
                    prop_assert!((count(part, class) - share * count(&whole, class)).abs() <= 1.0);
                }
            } else {
                prop_assert!((part.len() as f64 - share * labels.len() as f64).abs() <= 1.0);
            }
        }

        let k = k.min(labels.len());
        let folds = data.folds(k, stratified, seed).unwrap();
        let mut tests: Vec<usize> = folds.iter().flat_map(|fold| fold.test.clone()).collect();
        tests.sort_unstable();
        prop_assert_eq!(&tests, &whole);
        for fold in &folds {
            let mut both = [&fold.train[..], &fold.test].concat();
            both.sort_unstable();
            prop_assert_eq!(&both, &whole);
            prop_assert!(fold.test.len().abs_diff(labels.len() / k) <= 1);
            for class in (0..4).filter(|_| stratified) {
                prop_assert!((count(&fold.test, class) - count(&whole, class) / k as f64).abs() < 1.0);
            }
        }
    }

    /// What comes out is finite, within the limits, and what was good stays as it was.
    #[test]
    fn cleaning_repairs_what_is_wrong_and_nothing_else(
        values in prop::collection::vec(prop_oneof![4 => -10f32..10.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY)], 3..60),
        how in 0usize..4,
    ) {
        let width = 3;
        let mut values = values[..values.len() / width * width].to_vec();
        // A value in each column, so that there is a mean.
        values[..3].fill(0.5);
        let data = rows(&values, width);
        let missing = [Missing::Drop, Missing::Mean, Missing::Median, Missing::Constant(7.0)][how];
        let (clean, repairs) = Cleaner::fit(&data, missing, 0.0).unwrap().apply(&data).unwrap();
        let numbers = clean.numbers().unwrap();
        prop_assert!(numbers.iter().all(|x| x.is_finite()));
        if missing == Missing::Drop {
            let good: Vec<f32> = values.chunks(width).filter(|row| row.iter().all(|x| x.is_finite())).flatten().copied().collect();
            prop_assert_eq!(numbers, good);
            prop_assert_eq!(repairs.dropped, data.len() - clean.len());
        } else {
            prop_assert_eq!(clean.len(), data.len());
            prop_assert!(values.iter().zip(numbers).all(|(before, after)| !before.is_finite() || before == after));
            prop_assert_eq!(repairs.imputed, values.iter().filter(|x| !x.is_finite()).count());
        }
        let (clipped, _) = Cleaner::fit(&data, missing, 0.1).unwrap().apply(&data).unwrap();
        prop_assert!(clipped.numbers().unwrap().iter().all(|x| (-10.0..=10.0).contains(x)));
    }

    #[test]
    fn scaled_features_are_in_range(values in prop::collection::vec(-1e3f32..1e3, 4..60)) {
        let data = rows(&values[..values.len() / 2 * 2], 2);
        let engine = Kernels::active().unwrap();
        // One layer with the identity as weights shows what the model sees.
        let see = |scaling| {
            let model = Mlp::new(&[2, 2], 0).unwrap();
            let scaled = model.clone().with_scaler(Scaler::fit(&data, scaling).unwrap()).unwrap();
            let raw = model.run(&engine, &data).unwrap();
            (raw, scaled.run(&engine, &data).unwrap())
        };
        let (_, seen) = see(Scaling::Standard);
        let mean = |j: usize| seen.iter().skip(j).step_by(2).map(|&x| f64::from(x)).sum::<f64>() / data.len() as f64;
        prop_assert!(mean(0).abs() < 1e-3 && mean(1).abs() < 1e-3, "{} {}", mean(0), mean(1));
        let (_, seen) = see(Scaling::Range(-1.0, 1.0));
        // Two weights of at most √(6/4) each.
        prop_assert!(seen.iter().all(|x| x.abs() <= 2.0 * 1.5f32.sqrt() + 1e-4));
    }
}
