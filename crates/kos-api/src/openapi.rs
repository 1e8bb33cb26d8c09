//! The API as OpenAPI 3.1, made from [`crate::routes`] and the schemas of the types; `docs/reference/openapi.json`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    API_VERSION, Problem,
    audit::AuditEntry,
    envelope::{Kind as _, list_kind},
    plan::Plan,
    problem::PROBLEM_JSON,
    routes::{ALL, Access, Effect, IDEMPOTENCY_KEY, Named, Route, Schemas, Shape},
};

/// The description of every route of an authority.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ALL {
        let path = paths.entry(route.path.replace("{*", "{")).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "kOS authority",
            "version": API_VERSION,
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": { "Problem": {
                "description": "What went wrong (RFC 9457).",
                "content": { PROBLEM_JSON: { "schema": reference("Problem") } },
            } },
            "securitySchemes": { "certificate": {
                "type": "mutualTLS",
                "description": "A certificate of an operator or a device. The local socket needs none.",
            } },
        },
    })
}

fn operation(route: &Route) -> Value {
    let access: Vec<_> = route.access.iter().map(|a| a.as_str()).collect();
    let security =
        if route.access.contains(&Access::Anyone) { json!([]) } else { json!([{ "certificate": [] }]) };
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "x-kos-access": access,
        "security": security,
        "parameters": parameters(route),
        "responses": {
            "200": { "description": "Done.", "content": answers(route) },
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    let (media, schema) = body(route.request);
    if let (Some(operation), Some(media)) = (operation.as_object_mut(), media) {
        let body = json!({ "required": true, "content": { media: { "schema": schema } } });
        operation.insert("requestBody".into(), body);
    }
    operation
}

/// What a success holds: the route's own answer, or the plan of a dry run.
fn answers(route: &Route) -> Value {
    let (media, schema) = body(route.response);
    let plan = envelope("Plan", "Plan");
    let schema = if route.effect == Effect::Changes { json!({ "oneOf": [schema, plan] }) } else { schema };
    media.map_or_else(|| json!({}), |media| json!({ media: { "schema": schema } }))
}

fn body(shape: Shape) -> (Option<&'static str>, Value) {
    const JSON: Option<&str> = Some("application/json");
    match shape {
        Shape::Nothing => (None, Value::Null),
        Shape::Plain(named) => (JSON, reference(&(named.name)())),
        Shape::Document(kind, named) => (JSON, envelope(kind, &(named.name)())),
        Shape::List(kind, named) => {
            let mut properties = json!({
                "apiVersion": { "const": API_VERSION },
                "kind": { "const": list_kind(kind) },
                "items": { "type": "array", "items": reference(&(named.name)()) },
                "next": { "type": ["string", "null"] },
            });
            if let Some(properties) = properties.as_object_mut().filter(|_| kind == AuditEntry::KIND) {
                // What an archive has is not looked at; see `crate::audit::LeftOut`.
                let archived = json!({
                    "type": "object",
                    "required": ["size", "folder"],
                    "properties": { "size": { "type": "integer" }, "folder": { "type": "string" } },
                });
                properties.insert("archived".to_owned(), archived);
            }
            let required = ["apiVersion", "kind", "items", "next"];
            (JSON, json!({ "type": "object", "required": required, "properties": properties }))
        }
        Shape::Raw(media) => (Some(media.as_str()), json!({})),
    }
}

fn envelope(kind: &str, name: &str) -> Value {
    json!({
        "type": "object",
        "required": ["apiVersion", "kind", "item"],
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": kind },
            "item": reference(name),
        },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn parameters(route: &Route) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let placeholders = route.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = placeholders
        .map(|p| json!({ "name": p.trim_start_matches('*'), "in": "path", "required": true, "schema": text }))
        .collect();
    if let Some(Value::Object(mut schema)) = route.query.named().map(own_schema)
        && let Some(Value::Object(properties)) = schema.remove("properties")
    {
        all.extend(properties.into_iter().map(|(name, schema)| query_parameter(&name, schema)));
    }
    if route.effect == Effect::Changes {
        if route.is_repeatable() {
            all.push(json!({ "name": IDEMPOTENCY_KEY, "in": "header", "schema": text }));
        }
        if route.path.contains("{device}") {
            all.push(json!({ "name": "if-match", "in": "header", "schema": text }));
        }
    }
    all
}

/// What may be left out of a query is left out; it is never `null`, as the schema of the field would have it.
fn query_parameter(name: &str, field: Value) -> Value {
    let mut schema = match field {
        Value::Object(mut either) if either.contains_key("oneOf") => {
            let first = either.get_mut("oneOf").and_then(Value::as_array_mut).and_then(|all| all.first_mut());
            first.map(Value::take).unwrap_or_default()
        }
        other => other,
    };
    if let Some(types) = schema.get_mut("type")
        && let Some(first) = types.as_array().and_then(|all| all.first()).cloned()
    {
        *types = first;
    }
    let description = schema.as_object_mut().and_then(|s| s.remove("description"));
    json!({ "name": name, "in": "query", "description": description.unwrap_or_default(), "schema": schema })
}

fn own_schema(named: Named) -> Value {
    let mut schemas = Schemas::new();
    (named.collect)(&mut schemas);
    schemas.into_iter().next().and_then(|(_, schema)| serde_json::to_value(schema).ok()).unwrap_or_default()
}

/// Every schema that a route refers to. In an answer every field is there, be it `null`; in a request only those are
/// that must be.
fn schemas() -> BTreeMap<String, Value> {
    let mut requests = Schemas::new();
    let mut answers = Schemas::new();
    for route in ALL {
        if let Some(named) = route.request.named() {
            (named.collect)(&mut requests);
        }
        if let Some(named) = route.response.named() {
            (named.collect)(&mut answers);
        }
    }
    for known in [|s: &mut Schemas| collect::<Problem>(s), |s: &mut Schemas| collect::<Plan>(s)] {
        known(&mut answers);
    }
    let value = |(name, schema)| {
        (name, serde_json::to_value::<utoipa::openapi::RefOr<_>>(schema).unwrap_or_default())
    };
    let mut all: BTreeMap<String, Value> = answers.into_iter().map(value).collect();
    for schema in all.values_mut().filter_map(Value::as_object_mut) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let names: Vec<_> = properties.keys().cloned().collect();
            schema.insert("required".into(), names.into());
        }
    }
    for (name, schema) in requests.into_iter().map(value) {
        all.entry(name).or_insert(schema);
    }
    all
}

fn collect<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    found.push(to.clone());
                }
                map.values().for_each(|v| references(v, found));
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = vec![];
        references(&document, &mut found);
        assert!(found.len() > 100);
        for to in found {
            assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
        }
    }

    #[test]
    fn every_route_is_described_with_who_may_call_it() {
        let document = document();
        for route in ALL {
            let path = route.path.replace("{*", "{");
            let operation = &document["paths"][path][route.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.name);
            assert_eq!(operation["x-kos-access"].as_array().map(Vec::len), Some(route.access.len()));
        }
        let filters = document["paths"]["/api/v1/devices"]["get"]["parameters"].as_array().unwrap();
        assert!(filters.iter().any(|p| p["name"] == "state"));
    }

    #[test]
    fn an_answer_leaves_no_field_out_and_words_are_listed() {
        let document = document();
        let device = &document["components"]["schemas"]["Device"];
        assert_eq!(
            device["required"].as_array().map(Vec::len),
            device["properties"].as_object().map(Map::len)
        );
        assert_eq!(document["components"]["schemas"]["Channel"]["enum"], json!(["stable", "beta", "dev"]));
        assert_eq!(document["components"]["schemas"]["CreateTicket"]["required"], json!(["role"]));
    }
}
