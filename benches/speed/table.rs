//! What was measured, as rows, and how they are said.

/// One figure.
pub struct Row {
    /// What was measured, and under what load. The same in every run.
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// What it is compared with, if anything: the lowest of these, each in the unit of the row.
    pub floors: Vec<(String, f64)>,
    /// What the ratio to the floor, or the figure itself without one, should be.
    pub wanted: Wanted,
}

#[derive(Clone, Copy)]
pub enum Wanted {
    Nothing,
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            floors: Vec::new(),
            wanted: Wanted::Nothing,
        }
    }

    pub fn beside(mut self, floor: impl Into<String>, value: f64) -> Self {
        self.floors.push((floor.into(), value));
        self
    }

    pub fn at_least(mut self, wanted: f64) -> Self {
        self.wanted = Wanted::AtLeast(wanted);
        self
    }

    pub fn at_most(mut self, wanted: f64) -> Self {
        self.wanted = Wanted::AtMost(wanted);
        self
    }

    fn lowest(&self) -> Option<&(String, f64)> {
        self.floors.iter().min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// One line of the table.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{:<46} {:>10} {:<12}",
            self.name,
            number(self.value),
            self.unit
        );
        let judged = self
            .lowest()
            .map_or(self.value, |(_, floor)| self.value / floor);
        if !self.floors.is_empty() {
            let floors = self.floors.iter();
            let floors = floors.map(|(name, floor)| format!("{name} {}", number(*floor)));
            let floors: Vec<_> = floors.collect();
            line += &format!(" {judged:>6.2} of {}", floors.join(", of "));
        }
        let (word, wanted, reached) = match self.wanted {
            Wanted::Nothing => return line,
            Wanted::AtLeast(wanted) => ("at least", wanted, judged >= wanted),
            Wanted::AtMost(wanted) => ("at most", wanted, judged <= wanted),
        };
        let verdict = if reached { "reached" } else { "NOT reached" };
        line + &format!(" | {word} {}: {verdict}", number(wanted))
    }
}

/// Three digits at least, and no more than the figure bears.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => {
            let digits = format!("{value:.0}");
            let groups = digits.as_bytes().rchunks(3).rev();
            let groups: Vec<_> = groups.map(|g| String::from_utf8_lossy(g)).collect();
            groups.join(",")
        }
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Rows of the same names from runs of two builds in turn: the ratio of each pair, its median
/// and its extremes.
pub fn compared(pairs: &[(Vec<Row>, Vec<Row>)]) -> Vec<String> {
    let Some((first, _)) = pairs.first() else {
        return Vec::new();
    };
    let line = |row: &Row| {
        let of = |rows: &[Row]| rows.iter().find(|r| r.name == row.name).map(|r| r.value);
        let ratios = pairs
            .iter()
            .filter_map(|(other, this)| Some(of(this)? / of(other)?));
        let mut ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios.first()?, ratios.last()?);
        let median = ratios[ratios.len() / 2];
        Some(format!(
            "{:<46} {median:>6.3}  ({least:.3} to {most:.3})  {}",
            row.name, row.unit
        ))
    };
    first.iter().filter_map(line).collect()
}
