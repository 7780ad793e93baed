//! Rules at work: the files that come with one that was reached.

use kimg_core::ImagePath;

use super::{Pattern, Rule};
use crate::error::Problem;
use crate::finding::Finding;
use crate::lookup::{Landing, find};
use crate::walk::Walk;
use crate::{ClosureError, Dialect, Reason};

impl Walk<'_> {
    /// The files that rules say come with a file, taken into the set. `loader` is that of the program that loads it.
    pub(crate) fn ruled(
        &mut self,
        of: &ImagePath,
        loader: Option<Dialect>,
    ) -> Result<Vec<ImagePath>, ClosureError> {
        let rules = self.request.rules;
        let mut all = Vec::new();
        for rule in rules.of(of, loader) {
            let mut unmet = Vec::new();
            for pattern in rule.patterns() {
                let matches = self.matches(pattern);
                if matches.is_empty() {
                    unmet.push(pattern.text.clone());
                }
                for landings in matches {
                    let reason = Reason::Rule {
                        of: of.clone(),
                        rule: rule.name().to_owned(),
                        reason: rule.reason().to_owned(),
                    };
                    all.push(self.arrive(&landings, reason));
                }
            }
            self.report_unmet(of, rule, unmet)?;
        }
        Ok(all)
    }

    fn report_unmet(
        &mut self,
        of: &ImagePath,
        rule: &Rule,
        patterns: Vec<String>,
    ) -> Result<(), ClosureError> {
        let Some(pattern) = patterns.first() else { return Ok(()) };
        if rule.required() {
            let (rule, reason) = (rule.name().to_owned(), rule.reason().to_owned());
            let problem = Problem::RuleUnmet { program: of.clone(), rule, pattern: pattern.clone(), reason };
            return Err(self.error(of, problem));
        }
        let all = patterns.len() == rule.patterns().len();
        self.note(Finding::RuleFilesMissing { rule: rule.name().to_owned(), of: of.clone(), patterns, all });
        Ok(())
    }

    /// Where the paths that a pattern matches lead, in order. A link that leads nowhere matches nothing.
    fn matches(&self, pattern: &Pattern) -> Vec<Vec<Landing>> {
        let tree = self.request.tree;
        let Ok(start) = find(tree, pattern.folder.as_str()) else { return Vec::new() };
        let (Some(rest), Some(folder)) = (&pattern.rest, start.last()) else { return vec![start] };
        // Links above the wildcard belong to every match, or the program would not find it by this path.
        let links = start.iter().flat_map(|l| l.by.iter().chain((l.at != folder.at).then_some(&l.at)));
        let links: Vec<ImagePath> = links.cloned().collect();
        let prefix = if folder.at.is_root() { 1 } else { folder.at.as_str().len() + 1 };
        let below = tree.below(&folder.at).filter(|(path, _)| rest.is_match(&path.as_str()[prefix..]));
        let found = below.filter_map(|(path, _)| {
            let mut landings = find(tree, path.as_str()).ok()?;
            landings.first_mut()?.by.extend(links.iter().cloned());
            Some(landings)
        });
        found.collect()
    }
}
