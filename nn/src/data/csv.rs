//! Tables of comma-separated values, by the crate `csv`.

use super::{Dataset, Targets};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// How a file of comma-separated values is to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvFormat {
    /// Between two fields.
    pub delimiter: u8,
    /// Whether the first line names the columns.
    pub header: bool,
    /// The column that is to be learned; all others are features.
    pub target: Column,
    /// Whether that column holds numbers to predict, rather than classes.
    pub regression: bool,
}

impl Default for CsvFormat {
    /// Commas, a header, and classes in the last column.
    fn default() -> Self {
        Self { delimiter: b',', header: true, target: Column::Last, regression: false }
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// By its name in the header.
    Name(String),
    /// By its place, from 0.
    Index(usize),
    /// The last one.
    Last,
}

/// What a file of comma-separated values holds.
#[derive(Clone, Debug)]
pub struct Table {
    /// The features, NaN where one is missing, and the targets.
    pub data: Dataset,
    /// The names of the features; their places in the file where there is no header.
    pub features: Vec<String>,
    /// The names of the classes, in order: as whole numbers if all of them are, else as text. Empty for a regression.
    pub classes: Vec<String>,
}

/// Fields that say that a value is missing, beside the empty one; in any case. As a class they are names like others.
const MISSING: [&str; 5] = ["na", "n/a", "nan", "null", "?"];

impl Table {
    /// Reads a file of numbers with one column of targets.
    ///
    /// # Errors
    /// When the file can't be read, lines differ in length, a feature is no number, a class is missing, or there is no
    /// such column: always with the line, and the column where there is one.
    pub fn from_csv(file: impl AsRef<Path>, format: &CsvFormat) -> Result<Self> {
        let file = file.as_ref();
        let error = |line: Option<u64>, column: &str, problem: &dyn std::fmt::Display| Error::Csv {
            file: file.into(),
            line: line.unwrap_or(0),
            column: column.into(),
            problem: problem.to_string(),
        };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(format.delimiter)
            .has_headers(format.header)
            .trim(csv::Trim::All)
            .from_path(file)
            .map_err(|problem| error(None, "", &problem))?;
        // The reader's own lines count from the end of the record before, and know no CR LF.
        let line_at = |place: &csv::Position| {
            let text = std::fs::read(file).unwrap_or_default();
            let breaks = |c: &u8| [b'\r', b'\n'].contains(c);
            let byte = usize::try_from(place.byte()).unwrap_or(usize::MAX).min(text.len());
            let begin = byte + text[byte..].iter().take_while(|c| breaks(c)).count();
            let (before, pairs) = (&text[..begin], text[..begin].windows(2).filter(|two| two == b"\r\n").count());
            1 + (before.iter().filter(|c| breaks(c)).count() - pairs) as u64
        };
        let line_of = |problem: &csv::Error| problem.position().map(line_at);
        let first = reader.headers().map_err(|problem| error(line_of(&problem), "", &problem))?.clone();
        let place = |i| if format.header { first[i].to_owned() } else { i.to_string() };
        let mut names: Vec<String> = (0..first.len()).map(place).collect();
        let target = match &format.target {
            Column::Last => names.len().checked_sub(1),
            Column::Index(i) => Some(*i).filter(|&i| i < names.len()),
            Column::Name(name) => names.iter().position(|found| format.header && found == name),
        };
        let Some(target) = target else {
            return Err(error(Some(1), &format!("{:?}", format.target), &"does not exist"));
        };

        let (mut numbers, mut values, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for record in reader.records() {
            let record = record.map_err(|problem| error(line_of(&problem), "", &problem))?;
            for (i, field) in record.iter().enumerate() {
                let wrong = |problem: &str| error(record.position().map(line_at), &names[i], &problem);
                let number = || -> Result<f32> {
                    if field.is_empty() || MISSING.contains(&&*field.to_ascii_lowercase()) {
                        return Ok(f32::NAN);
                    }
                    field.parse().map_err(|_| wrong(&format!("holds {field:?}, which is no number")))
                };
                match (i == target, format.regression) {
                    (false, _) => numbers.push(number()?),
                    (true, true) => values.push(number()?),
                    (true, false) if field.is_empty() => return Err(wrong("names no class")),
                    (true, false) if field.contains(['\r', '\n']) => {
                        return Err(wrong("names a class with a line break in it: is a quote not closed?"));
                    }
                    (true, false) => texts.push(field.to_owned()),
                }
            }
        }

        let mut classes: Vec<String> = BTreeSet::from_iter(&texts).into_iter().cloned().collect();
        if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
            classes.sort_by_key(|class| class.parse::<i64>().ok());
        }
        let targets = if format.regression {
            Targets::Values { values, width: 1 }
        } else {
            let places: std::collections::HashMap<_, _> = classes.iter().zip(0..).collect();
            Targets::Classes(texts.iter().map(|text| places[text]).collect())
        };
        names.remove(target);
        let mut data = Dataset::from_numbers(numbers, names.len(), targets)?;
        (data.image_file, data.label_file) = (file.into(), file.into());
        Ok(Self { data, features: names, classes })
    }
}
