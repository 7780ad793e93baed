//! What people see of a graph of needs: as a tree, for Graphviz, as a picture, for programs.

use kimg_report::{Graph, NodeKind};

/// A program, its loader, libraries that share one, plugins with a loop between two, and a library that is nowhere.
fn graph() -> Graph {
    let mut graph = Graph::default();
    let program = graph.node("/sbin/xtables-legacy-multi", NodeKind::Program);
    let loader = graph.node("/lib/ld-musl-armhf.so.1", NodeKind::Loader);
    let xtables = graph.node("/usr/lib/libxtables.so.12.4.0", NodeKind::Library);
    let ip4tc = graph.node("/usr/lib/libip4tc.so.2.0.0", NodeKind::Library);
    let plugin = graph.node("/usr/lib/xtables/libxt_bpf.so", NodeKind::Library);
    let gone = graph.node("libbpf.so.1", NodeKind::Unresolved);
    graph.node_mut(program).size = Some(98_304);
    graph.node_mut(loader).size = Some(401_208);
    graph.node_mut(gone).note = Some("not in /lib, /usr/local/lib, /usr/lib".into());
    graph.edge(program, loader, "loader", "/lib/ld-musl-armhf.so.1");
    graph.edge(program, xtables, "needed", "libxtables.so.12");
    graph.edge(program, ip4tc, "needed", "libip4tc.so.2");
    graph.edge(program, plugin, "rule", "/usr/lib/xtables/libxt_bpf.so");
    graph.edge(plugin, xtables, "needed", "libxtables.so.12");
    graph.edge(plugin, gone, "needed", "libbpf.so.1");
    graph.edge(xtables, ip4tc, "needed", "libip4tc.so.2");
    graph.edge(ip4tc, xtables, "needed", "libxtables.so.12");
    graph
}

#[test]
fn a_tree_shows_what_leads_where_and_what_is_nowhere() {
    insta::assert_snapshot!(graph().to_terminal(100, false));
}

#[test]
fn graphviz_gets_every_node_and_edge() {
    insta::assert_snapshot!(graph().to_dot());
}

#[test]
fn a_picture_stands_alone() {
    let svg = graph().to_svg("what /sbin/xtables-legacy-multi needs");
    assert!(!svg.contains("href") && !svg.contains("<script"), "nothing is fetched and nothing runs");
    insta::assert_snapshot!(svg);
}

#[test]
fn programs_get_nodes_edges_and_what_is_unresolved() {
    insta::assert_snapshot!(graph().to_json());
}

#[test]
fn what_a_name_holds_ends_neither_a_string_nor_an_element() {
    let mut graph = Graph::default();
    let bad = graph.node("/a\"];x -> y\\", NodeKind::Program);
    let worse = graph.node("</svg><script>\u{1b}[2J&", NodeKind::Library);
    graph.edge(bad, worse, "needed", "");
    assert!(graph.to_dot().contains(r#"  "/a\"];x -> y\\" [penwidth=2];"#), "{}", graph.to_dot());
    let svg = graph.to_svg("a");
    assert!(svg.contains("script&gt;") && !svg.contains("<script>") && !svg.contains('\u{1b}'), "{svg}");
    assert!(!graph.to_terminal(80, false).contains('\u{1b}'));
}

#[test]
fn a_graph_without_anything_is_drawn_too() {
    let graph = Graph::default();
    assert_eq!(graph.to_terminal(80, false), "");
    assert!(graph.to_svg("nothing").ends_with("</svg>\n"));
}
