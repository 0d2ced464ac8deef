//! Global parameters: kept, replaced, taken away, and back after a restart.

use super::*;

fn put(name: &str, value: Option<&str>) -> Command {
    Command::PutParameter { name: name.to_owned(), value: value.map(str::to_owned) }
}

#[test]
fn a_parameter_is_replaced_and_survives() {
    let mut scene = Scene::new();
    assert!(scene.apply(put("cluster_name", Some("\"one\""))).created);
    assert!(!scene.apply(put("cluster_name", Some("\"two\""))).created);
    scene.apply(put("other", Some("{\"a\":[1]}")));
    let rows = scene.topology.rows();
    let encoded: Vec<_> = rows.iter().map(|row| (row.key(), row.value())).collect();
    let read = encoded.iter().map(|(key, value)| Row::decode(&key.0, value).unwrap());
    let restored = Topology::restore(Placement::alone(4), read).unwrap();
    let kept: Vec<_> = restored.parameters().collect();
    assert_eq!(kept, [("cluster_name", "\"two\""), ("other", "{\"a\":[1]}")]);
    assert_eq!(restored.parameter("other"), Some("{\"a\":[1]}"));
}

#[test]
fn a_parameter_that_is_taken_away_leaves_no_row_and_one_that_is_not_there_is_not_found() {
    let mut scene = Scene::new();
    let row = |scene: &Scene| scene.topology.rows().iter().any(|row| matches!(row, Row::Parameter { .. }));
    scene.apply(put("p", Some("1")));
    assert!(row(&scene));
    let outcome = scene.apply(put("p", None));
    assert_eq!(outcome.changes.len(), 1);
    assert!(!row(&scene));
    assert_eq!(scene.topology.apply(put("p", None)).unwrap_err().text, "no global parameter 'p'");
}
