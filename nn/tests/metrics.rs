//! Metrics against numbers from the literature and against their definitions, written out without thought for speed.

use nn::Result;
use nn::metrics::{Average, Confusion, Regression, calibration_error, log_loss, pr_auc, roc_auc, top_k};
use proptest::prelude::*;

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9 || a.is_nan() && b.is_nan()
}

/// The example of scikit-learn's `precision_recall_fscore_support`: cat 0, dog 1, pig 2.
#[test]
fn confusion_by_hand() -> Result<()> {
    let confusion = Confusion::new(3, &[0, 1, 2, 0, 1, 2], &[0, 2, 1, 0, 0, 1])?;
    assert_eq!(confusion.rows().collect::<Vec<_>>(), [[2, 0, 0], [1, 0, 1], [0, 2, 0]]);
    let scores = confusion.scores();
    assert!(close(scores[0].precision, 2.0 / 3.0) && scores[0].recall == 1.0 && close(scores[0].f1, 0.8));
    assert_eq!((scores[1].precision, scores[1].recall, scores[1].f1, scores[1].support), (0.0, 0.0, 0.0, 2));
    let all = confusion.average(Average::Macro);
    assert!(close(all.precision, 2.0 / 9.0) && close(all.recall, 1.0 / 3.0) && close(all.f1, 0.8 / 3.0));
    let micro = confusion.average(Average::Micro);
    assert!(close(micro.precision, 1.0 / 3.0) && close(micro.f1, 1.0 / 3.0) && micro.support == 6);
    // Unequal classes: 3 of the first, 1 of the second.
    let weighted = Confusion::new(2, &[0, 0, 0, 1], &[0, 0, 1, 1])?.average(Average::Weighted);
    assert!(close(weighted.precision, 0.75 * 1.0 + 0.25 * 0.5));
    assert!(close(weighted.recall, 0.75 * 2.0 / 3.0 + 0.25));
    Ok(())
}

/// The example of scikit-learn's `roc_auc_score` and `average_precision_score`.
#[test]
fn areas_by_hand() -> Result<()> {
    let (scores, positive) = ([0.1, 0.4, 0.35, 0.8], [false, false, true, true]);
    assert!(close(roc_auc(&scores, &positive)?, 0.75));
    assert!(close(pr_auc(&scores, &positive)?, 0.5 + 0.5 * 2.0 / 3.0));
    assert!(close(roc_auc(&[1.0; 4], &positive)?, 0.5) && close(pr_auc(&[0.0, -0.0, 0.0, -0.0], &positive)?, 0.5));
    assert!(roc_auc(&scores, &[true; 4])?.is_nan() && pr_auc(&scores, &[false; 4])?.is_nan());
    Ok(())
}

#[test]
fn others_by_hand() -> Result<()> {
    let p = [0.5, 0.5, 0.25, 0.75];
    assert!(close(log_loss(2, &p, &[0, 1])?, (2f64.ln() + (4.0_f64 / 3.0).ln()) / 2.0));
    assert!(log_loss(2, &[1.0, 0.0], &[1])?.is_finite());
    assert!(log_loss(2, &[f32::NAN; 2], &[0])?.is_nan());
    // Ten bins: .5 and a hit, .75 and a miss.
    assert!(close(calibration_error(10, 2, &p, &[0, 0])?, (0.5 + 0.75) / 2.0));
    // One bin: they make up for each other.
    assert!(close(calibration_error(1, 2, &p, &[0, 0])?, (1.25 - 1.0) / 2.0));
    // Of two bins the first ends with .5, a miss; the hit of .75 is in the other, and does not make up for it.
    assert!(close(calibration_error(2, 2, &p, &[1, 1])?, (0.5 + 0.25) / 2.0));
    // The example of scikit-learn's `r2_score`.
    let found = Regression::new(&[2.5, 0.0, 2.0, 8.0], &[3.0, -0.5, 2.0, 7.0])?;
    assert!(close(found.mse, 0.375) && close(found.mae, 0.5) && close(found.r2, 1.0 - 1.5 / 29.1875));
    let scores = [0.1, 0.7, 0.2, 0.3, 0.3, 0.4];
    assert_eq!([1, 2, 3].map(|k| top_k(k, 3, &scores, &[2, 1]).unwrap()), [0.0, 0.5, 1.0]);
    Ok(())
}

#[test]
fn what_does_not_go_together_is_an_error() {
    assert!(Confusion::new(2, &[0, 2], &[0, 1]).is_err());
    assert!(Confusion::new(2, &[0, 1], &[0, 2]).is_err());
    assert!(Confusion::new(2, &[0, 1], &[0]).is_err());
    assert!(top_k(1, 3, &[0.0; 5], &[0, 1]).is_err());
    assert!(roc_auc(&[0.0], &[]).is_err() && pr_auc(&[f32::NAN], &[true]).is_err());
    assert!([0, usize::MAX].iter().all(|&bins| calibration_error(bins, 2, &[0.5, 0.5], &[0]).is_err()));
    let error = Confusion::new(1 << 24, &[0], &[1]).unwrap_err().to_string();
    assert_eq!(error, "number of classes in a confusion matrix is 16777216, but must be at most 32768");
    assert!(Regression::new(&[], &[]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn areas_are_those_of_the_definitions(samples in prop::collection::vec((-3i8..3, any::<bool>()), 1..40)) {
        let scores: Vec<f32> = samples.iter().map(|s| f32::from(s.0)).collect();
        let positive: Vec<bool> = samples.iter().map(|s| s.1).collect();
        // Every pair of a positive and a negative sample.
        let (mut right, mut pairs) = (0.0, 0.0);
        for a in samples.iter().filter(|s| s.1) {
            for b in samples.iter().filter(|s| !s.1) {
                right += if a.0 > b.0 { 1.0 } else if a.0 == b.0 { 0.5 } else { 0.0 };
                pairs += 1.0;
            }
        }
        prop_assert!(close(roc_auc(&scores, &positive).unwrap(), right / pairs));
        // Precision at each positive sample's score, meant over them.
        let precision = |threshold| {
            let taken = samples.iter().filter(|s| s.0 >= threshold);
            taken.clone().filter(|s| s.1).count() as f64 / taken.count() as f64
        };
        let all: Vec<f64> = samples.iter().filter(|s| s.1).map(|s| precision(s.0)).collect();
        prop_assert!(close(pr_auc(&scores, &positive).unwrap(), all.iter().sum::<f64>() / all.len() as f64));
    }

    #[test]
    fn scores_are_those_of_the_definitions(samples in prop::collection::vec((0u32..4, 0u32..4), 1..60)) {
        let (labels, predictions): (Vec<u32>, Vec<u32>) = samples.iter().copied().unzip();
        let confusion = Confusion::new(4, &labels, &predictions).unwrap();
        let count = |f: &dyn Fn(u32, u32) -> bool| samples.iter().filter(|s| f(s.0, s.1)).count() as f64;
        let mut f1 = 0.0;
        for (c, scores) in (0..).zip(confusion.scores()) {
            let hits = count(&|l, p| l == c && p == c);
            let precision = if count(&|_, p| p == c) > 0.0 { hits / count(&|_, p| p == c) } else { 0.0 };
            let recall = if count(&|l, _| l == c) > 0.0 { hits / count(&|l, _| l == c) } else { 0.0 };
            let harmonic = if hits > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
            prop_assert!(close(scores.precision, precision) && close(scores.recall, recall));
            prop_assert!(close(scores.f1, harmonic) && scores.support as f64 == count(&|l, _| l == c));
            f1 += harmonic / 4.0;
        }
        prop_assert!(close(confusion.average(Average::Macro).f1, f1));
        let accuracy = count(&|l, p| l == p) / samples.len() as f64;
        prop_assert!(close(confusion.accuracy(), accuracy));
        prop_assert!(close(confusion.average(Average::Weighted).recall, accuracy));
        prop_assert!(close(confusion.average(Average::Micro).precision, accuracy));
    }

    /// The label is among the first k classes when sorted by score, equal ones in their order.
    #[test]
    fn top_k_is_that_of_a_sort(rows in prop::collection::vec((prop::array::uniform5(-2i8..3), 0u32..5), 1..20), k in 0usize..7) {
        let scores: Vec<f32> = rows.iter().flat_map(|row| row.0.map(f32::from)).collect();
        let labels: Vec<u32> = rows.iter().map(|row| row.1).collect();
        let hits = rows.iter().filter(|(row, label)| {
            let mut order: Vec<u32> = (0..5).collect();
            order.sort_by_key(|&j| -row[j as usize]);
            order.iter().take(k).any(|j| j == label)
        });
        prop_assert!(close(top_k(k, 5, &scores, &labels).unwrap(), hits.count() as f64 / rows.len() as f64));
    }
}
