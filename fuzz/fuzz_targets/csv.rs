#![no_main]
//! A table: the first byte chooses the format.

use libfuzzer_sys::fuzz_target;
use nn::{Column, CsvFormat, Table};

fuzz_target!(|data: &[u8]| {
    let Some((&how, text)) = data.split_first() else { return };
    let format = CsvFormat {
        delimiter: [b',', b';', b'\t', b' '][usize::from(how >> 6)],
        header: how & 1 != 0,
        regression: how & 2 != 0,
        target: match how >> 2 & 3 {
            0 => Column::Last,
            1 => Column::Name("x".into()),
            2 => Column::Index(0),
            _ => Column::Index(usize::from(how >> 4 & 3)),
        },
    };
    if let Ok(table) = Table::from_csv(fuzz::file("table", text), &format) {
        let numbers = table.data.numbers().unwrap();
        assert_eq!(numbers.len(), table.data.len() * table.features.len());
        assert_eq!(table.data.features(), table.features.len());
    }
});
