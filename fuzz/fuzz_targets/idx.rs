#![no_main]
//! A file of images and one of labels: the first two bytes say where the one ends.

use libfuzzer_sys::fuzz_target;
use nn::Dataset;

fuzz_target!(|data: &[u8]| {
    let Some((at, rest)) = data.split_first_chunk::<2>() else { return };
    let (images, labels) = rest.split_at((u16::from_le_bytes(*at) as usize).min(rest.len()));
    let read = Dataset::from_idx(fuzz::file("images", images), fuzz::file("labels", labels));
    if let Ok(read) = read {
        assert_eq!(read.labels().len(), read.len());
        assert!(read.labels().iter().all(|&label| (label as usize) < read.classes()));
        assert!((0..read.len()).all(|i| read.image(i).len() == read.height() * read.width()));
    }
});
