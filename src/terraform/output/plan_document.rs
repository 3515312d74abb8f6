//! Terraform's own JSON of a plan, for tools that read it, without secrets.
//!
//! It stays valid against Terraform's description of the format (format_version 1.2): a masked
//! value is the string `***`, and every key stays.

use crate::base::{json::Json, redact::Redactor};

/// A masked value, as JSON.
const MASKED: &str = "\"***\"";

/// Masks the values that the plan or the code marks as sensitive, all values of the variable
/// `secrets`, and in all other strings what `redactor` knows.
pub(crate) fn masked(text: &str, redactor: &Redactor) -> serde_json::Result<String> {
    let mut plan = Json::parse(text)?;
    let sensitive = sensitive_variables(&plan);
    for (name, variable) in members(member_mut(&mut plan, "variables")) {
        if name == "secrets" || sensitive.contains(name) {
            member_mut(variable, "value").into_iter().for_each(mask_all);
        }
    }
    for list in ["resource_changes", "resource_drift"] {
        items(member_mut(&mut plan, list)).for_each(mask_change_of);
    }
    for deferred in items(member_mut(&mut plan, "deferred_changes")) {
        member_mut(deferred, "resource_change").into_iter().for_each(mask_change_of);
    }
    members(member_mut(&mut plan, "output_changes")).for_each(|(_, change)| mask_change(change));
    member_mut(&mut plan, "planned_values").into_iter().for_each(mask_values);
    let prior = member_mut(&mut plan, "prior_state");
    prior.and_then(|prior| member_mut(prior, "values")).into_iter().for_each(mask_values);
    mask_strings(&mut plan, redactor);
    Ok(format!("{plan}\n"))
}

fn sensitive_variables(plan: &Json) -> Vec<String> {
    let root = ["configuration", "root_module", "variables"];
    let variables = root.iter().try_fold(plan, |at, key| member(at, key));
    let Some(Json::Object(variables)) = variables else { return Vec::new() };
    let is_sensitive = |of: &Json| member(of, "sensitive").is_some_and(|it| it.is("true"));
    let found = variables.iter().filter(|(_, of)| is_sensitive(of));
    found.map(|(name, _)| name.clone()).collect()
}

fn mask_change_of(resource: &mut Json) {
    member_mut(resource, "change").into_iter().for_each(mask_change);
}

fn mask_change(change: &mut Json) {
    for (values, marks) in [("before", "before_sensitive"), ("after", "after_sensitive")] {
        let marks = member(change, marks).cloned();
        if let (Some(values), Some(marks)) = (member_mut(change, values), marks) {
            mask(values, &marks);
        }
    }
}

/// Masks `planned_values`, or the `values` of a state.
fn mask_values(values: &mut Json) {
    for (_, output) in members(member_mut(values, "outputs")) {
        if member(output, "sensitive").is_some_and(|it| it.is("true")) {
            member_mut(output, "value").into_iter().for_each(mask_all);
        }
    }
    member_mut(values, "root_module").into_iter().for_each(mask_module);
}

fn mask_module(module: &mut Json) {
    for resource in items(member_mut(module, "resources")) {
        let marks = member(resource, "sensitive_values").cloned();
        if let (Some(values), Some(marks)) = (member_mut(resource, "values"), marks) {
            mask(values, &marks);
        }
    }
    items(member_mut(module, "child_modules")).for_each(mask_module);
}

/// Masks what `marks` selects. It has the shape of `value`, with `true` where everything below is
/// sensitive.
fn mask(value: &mut Json, marks: &Json) {
    match (value, marks) {
        (value, marks) if marks.is("true") => mask_all(value),
        (Json::Array(values), Json::Array(marks)) => {
            values.iter_mut().zip(marks).for_each(|(value, marks)| mask(value, marks));
        }
        (Json::Object(fields), marks) => fields.iter_mut().for_each(|(name, value)| {
            if let Some(marks) = member(marks, name) {
                mask(value, marks);
            }
        }),
        _ => {}
    }
}

/// Masks every value but null, which says that there is none. Keys of a map stay.
fn mask_all(value: &mut Json) {
    match value {
        Json::Object(fields) => fields.iter_mut().for_each(|(_, value)| mask_all(value)),
        Json::Array(values) => values.iter_mut().for_each(mask_all),
        Json::Scalar(text) if text == "null" => {}
        Json::Scalar(text) => MASKED.clone_into(text),
    }
}

fn mask_strings(value: &mut Json, redactor: &Redactor) {
    match value {
        Json::Object(fields) => {
            fields.iter_mut().for_each(|(_, value)| mask_strings(value, redactor))
        }
        Json::Array(values) => values.iter_mut().for_each(|value| mask_strings(value, redactor)),
        Json::Scalar(written) => {
            let text = Json::Scalar(written.clone()).as_str();
            match text {
                Some(text) if redactor.finds(&text) => {
                    let masked = redactor.apply(&text).into_owned();
                    *written = serde_json::Value::from(masked).to_string();
                }
                // A secret can be a number.
                None if redactor.finds(written) => MASKED.clone_into(written),
                _ => {}
            }
        }
    }
}

fn member<'j>(of: &'j Json, name: &str) -> Option<&'j Json> {
    let Json::Object(members) = of else { return None };
    members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn member_mut<'j>(of: &'j mut Json, name: &str) -> Option<&'j mut Json> {
    let Json::Object(members) = of else { return None };
    members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn members(of: Option<&mut Json>) -> impl Iterator<Item = (&String, &mut Json)> {
    let members = match of {
        Some(Json::Object(members)) => members.as_mut_slice(),
        _ => &mut [],
    };
    members.iter_mut().map(|(name, value)| (&*name, value))
}

fn items(of: Option<&mut Json>) -> impl Iterator<Item = &mut Json> {
    match of {
        Some(Json::Array(items)) => items.iter_mut(),
        _ => [].iter_mut(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::redact::Secret;

    #[test]
    fn marked_and_known_values_are_masked_everywhere() {
        let text = r#"{"format_version":"1.2","variables":{"secrets":{"value":{"a":"x1","b":[2]}},
            "pin":{"value":1234},"env":{"value":"live"}},
            "planned_values":{"outputs":{"o":{"sensitive":true,"value":{"k":"x2"}},
                "p":{"sensitive":false,"value":"hunter22!"}},
                "root_module":{"resources":[{"values":{"a":"x3","b":1e400},
                    "sensitive_values":{"a":true}}],
                "child_modules":[{"resources":[{"values":{"l":["x4","y"],"n":null},
                    "sensitive_values":{"l":[true,false],"n":true}}]}]}},
            "resource_changes":[{"change":{"before":{"a":"x5"},"after":{"a":"x6","b":"y"},
                "before_sensitive":{"a":true},"after_sensitive":{"a":true}}}],
            "resource_drift":[{"change":{"before":"x7","before_sensitive":true}}],
            "output_changes":{"o":{"before":"x8","after":"x9","before_sensitive":true,
                "after_sensitive":true}},
            "prior_state":{"values":{"root_module":{"resources":[{"values":{"a":"x3"},
                "sensitive_values":{"a":true}}]}}},
            "configuration":{"root_module":{"variables":{"pin":{"sensitive":true},"env":{}}}}}"#;
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter22"));
        let masked = masked(text, &redactor).unwrap();
        for hidden in ["x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "1234", "hunter22"] {
            assert!(!masked.contains(hidden), "{hidden} in {masked}");
        }
        let plan: serde_json::Value = serde_json::from_str(&masked.replace("1e400", "1")).unwrap();
        let module = &plan["planned_values"]["root_module"];
        assert_eq!(module["resources"][0]["values"], serde_json::json!({"a": "***", "b": 1}));
        let child = &module["child_modules"][0]["resources"][0]["values"];
        assert_eq!(*child, serde_json::json!({"l": ["***", "y"], "n": null}));
        assert_eq!(plan["variables"]["env"]["value"], "live");
        assert_eq!(plan["variables"]["secrets"]["value"]["b"], serde_json::json!(["***"]));
    }
}
