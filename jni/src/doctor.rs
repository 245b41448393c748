//! What a look at the way to some targets has found, as it crosses.
//!
//! It owns the order of the packet's fields. What is looked at, and how it is told, is the core's; Java adds what only
//! it knows of its host, before the report is made.

use pinlink::{Diagnosis, Examination, Fact, Step, Target, Verdict};

use crate::answer::Failure;
use crate::options;
use crate::packet::{Malformed, Packing, Unpacking};

/// Facts of the host's own: name, verdict, value.
pub(crate) fn facts(fields: &mut Unpacking<'_>) -> Result<Vec<Fact>, Malformed> {
    let mut facts = Vec::new();
    for _ in 0..fields.count()? {
        let (name, verdict, value) = (fields.text()?.to_owned(), fields.text()?, fields.text()?.to_owned());
        let verdict = Verdict::ALL.into_iter().find(|known| known.as_str() == verdict).ok_or(Malformed)?;
        facts.push(Fact { name, verdict, value });
    }
    Ok(facts)
}

/// Looks at the packet's targets with the packet's options.
pub(crate) fn examine(fields: &mut Unpacking<'_>) -> Result<Diagnosis, Failure> {
    let mut targets = Vec::new();
    for _ in 0..fields.count()? {
        targets.push(Target::parse(fields.text()?)?);
    }
    Ok(options::unpack(fields)??.doctor(&targets)?)
}

/// Whether all is well, the table, the JSON, and what both tell, field by field.
pub(crate) fn pack(diagnosis: &Diagnosis) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.put_byte(u8::from(diagnosis.is_well()));
    packet.put_text(&diagnosis.to_string());
    packet.put_text(&diagnosis.to_json());
    packet.put_length(diagnosis.targets.len());
    for examination in &diagnosis.targets {
        pack_examination(examination, &mut packet);
    }
    packet.put_length(diagnosis.environment.len());
    for fact in &diagnosis.environment {
        packet.put_text(&fact.name);
        packet.put_text(fact.verdict.as_str());
        packet.put_text(&fact.value);
    }
    packet
}

fn pack_examination(examination: &Examination, packet: &mut Vec<u8>) {
    packet.put_text(&examination.target);
    packet.put_byte(u8::from(examination.is_well()));
    packet.put_length(examination.steps.len());
    for step in &examination.steps {
        pack_step(step, packet);
    }
}

fn pack_step(step: &Step, packet: &mut Vec<u8>) {
    packet.put_text(step.stage.as_str());
    packet.put_text(step.verdict.as_str());
    packet.put_long(i64::try_from(step.took.as_nanos()).unwrap_or(i64::MAX));
    packet.put_text(step.reason.map_or("", |reason| reason.as_str()));
    packet.put_text(&step.detail);
    packet.put_length(step.causes.len());
    for cause in step.causes {
        packet.put_text(cause.certainty.as_str());
        packet.put_text(cause.layer.as_str());
        packet.put_text(cause.step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_the_host_are_told_beside_the_machine_s() {
        let mut packet = Vec::new();
        packet.put_length(1);
        for text in ["java", Verdict::Warning.as_str(), "8"] {
            packet.put_text(text);
        }
        packet.put_length(0);
        packet.put_length(0);
        packet.put_text("");
        let mut fields = Unpacking::new(&packet);
        let facts = facts(&mut fields).unwrap();
        let Ok(mut diagnosis) = examine(&mut fields) else { panic!("no targets and no options are no mistake") };
        diagnosis.environment.extend(facts);
        let packed = pack(&diagnosis);
        let mut fields = Unpacking::new(&packed);
        assert_eq!(fields.byte(), Ok(1));
        let table = fields.text().unwrap();
        assert!(table.ends_with("  java            warning 8\n"), "{table}");
        assert!(fields.text().unwrap().contains("\"java\""));
        assert_eq!(fields.count(), Ok(0));
        assert_eq!(fields.count(), Ok(diagnosis.environment.len()));
    }

    #[test]
    fn a_verdict_that_nobody_knows_is_malformed() {
        let mut packet = Vec::new();
        packet.put_length(1);
        for text in ["java", "perhaps", "8"] {
            packet.put_text(text);
        }
        assert_eq!(facts(&mut Unpacking::new(&packet)).map(|facts| facts.len()), Err(Malformed));
    }
}
