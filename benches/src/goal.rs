//! Goals: rates that the design promises, printed as one plain line each beside criterion's output.
//!
//! A line, not an assertion: a busy machine misses a goal that the program reaches. The figure is
//! the median of the samples that criterion itself took.
#![allow(clippy::print_stdout, reason = "the line is what a goal is for")]

use std::time::Duration;

/// One goal with what was measured for it.
#[derive(Debug)]
pub struct Goal {
    what: &'static str,
    records_per_second: f64,
    rates: Vec<f64>,
}

impl Goal {
    /// A goal in records per second.
    pub fn new(what: &'static str, records_per_second: f64) -> Self {
        Self {
            what,
            records_per_second,
            rates: Vec::new(),
        }
    }

    /// Notes that so many records took so long.
    pub fn note(&mut self, records: usize, took: Duration) {
        self.rates.push(records as f64 / took.as_secs_f64());
    }

    /// The line: what, median, goal, verdict, and the samples in order, because a store that fills
    /// gets slower.
    pub fn line(&self) -> String {
        let Self {
            what,
            records_per_second: goal,
            rates,
        } = self;
        let Some(median) = median(rates) else {
            return format!("goal: {what}: not measured in this run");
        };
        let verdict = match median >= *goal {
            true => "reached",
            false => "MISSED",
        };
        let build = match cfg!(debug_assertions) {
            true => ", unoptimised build: says nothing",
            false => "",
        };
        let samples: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        format!(
            "goal: {what}: median {median:.0} records/s, goal {goal:.0}: {verdict}{build}; in order: {}",
            samples.join(" "),
        )
    }

    /// Prints the line.
    pub fn print(&self) {
        println!("{}", self.line());
    }
}

/// The median; the upper one of an even number.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_held_against_the_median() {
        let mut goal = Goal::new("seal", 1000.0);
        assert!(goal.line().ends_with("not measured in this run"));
        for millis in [100, 10, 200] {
            goal.note(100, Duration::from_millis(millis));
        }
        let line = goal.line();
        assert!(
            line.starts_with("goal: seal: median 1000 records/s, goal 1000: reached"),
            "{line}"
        );
        assert!(line.ends_with("in order: 1000 10000 500"), "{line}");
        goal.note(100, Duration::from_millis(200));
        goal.note(100, Duration::from_millis(200));
        assert!(goal.line().contains("MISSED"));
    }
}
