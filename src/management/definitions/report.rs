//! What became of each object of a file.

use std::fmt;

use serde::Serialize;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is as the file says.
    Taken,
    /// It was so before.
    Unchanged,
    /// One of its name is there with other properties, and stays as it is.
    Kept,
    /// It is there, though not quite as the file says.
    Adapted,
    /// It is not there.
    Refused,
}

/// One object of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reported {
    /// What it is, such as `queue`.
    pub kind: &'static str,
    /// Its vhost, if it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<String>,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, if it is not as the file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}'", self.kind, self.name)?;
        if let Some(vhost) = &self.vhost {
            write!(f, " in vhost '{vhost}'")?;
        }
        let word = match self.outcome {
            Outcome::Taken => "taken",
            Outcome::Unchanged => "unchanged",
            Outcome::Kept => "kept as it is",
            Outcome::Adapted => "adapted",
            Outcome::Refused => "refused",
        };
        write!(f, " {word}")?;
        self.reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}

/// How many objects came to each end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// As the file says.
    pub taken: usize,
    /// Were so before.
    pub unchanged: usize,
    /// Others of their names stay.
    pub kept: usize,
    /// Are there in another form.
    pub adapted: usize,
    /// Are not there.
    pub refused: usize,
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing was changed, because it was only tried.
    pub dry_run: bool,
    /// How many objects came to each end.
    pub counts: Counts,
    /// Each object, in the order in which they were taken.
    pub objects: Vec<Reported>,
}

impl Report {
    pub(super) fn add(&mut self, object: Reported) {
        let count = match object.outcome {
            Outcome::Taken => &mut self.counts.taken,
            Outcome::Unchanged => &mut self.counts.unchanged,
            Outcome::Kept => &mut self.counts.kept,
            Outcome::Adapted => &mut self.counts.adapted,
            Outcome::Refused => &mut self.counts.refused,
        };
        *count += 1;
        self.objects.push(object);
    }

    /// The objects that are not as the file says.
    pub fn remarkable(&self) -> impl Iterator<Item = &Reported> {
        self.objects.iter().filter(|object| object.reason.is_some())
    }

    /// Those that were refused.
    pub fn refused(&self) -> impl Iterator<Item = &Reported> {
        self.objects.iter().filter(|object| object.outcome == Outcome::Refused)
    }
}
