"""Pure parts of the scripts, by themselves."""


def call(screen, module, expression):
    """Imports a module of the page and evaluates an expression over it."""
    version = screen.run("return document.querySelector('script').src.split('/').at(-2)")
    script = "const done = arguments[arguments.length - 1]; import(arguments[0]).then((m) => done(%s), (error) => done(String(error)))" % expression
    return screen.driver.execute_async_script(script, f"/ui/{version}/{module}")


def test_ticks_are_round_and_reach_the_top(fresh):
    assert call(fresh, "parts/chart.js", "m.niceTicks(0)") == [0, 1]
    assert call(fresh, "parts/chart.js", "m.niceTicks(9)") == [0, 5, 10]
    assert call(fresh, "parts/chart.js", "m.niceTicks(95)") == [0, 50, 100]
    ticks = call(fresh, "parts/chart.js", "[1, 7, 33, 128, 999, 1234567].map((most) => m.niceTicks(most).at(-1) / most)")
    assert all(1 <= share <= 2.5 for share in ticks)
    assert call(fresh, "parts/chart.js", "m.niceTicks(3 * 1024 ** 3, true)") == [0, 1024**3, 2 * 1024**3, 3 * 1024**3]


def test_rates_come_from_counters_and_begin_anew_with_them(fresh):
    samples = "{samples: [{sample: 5, timestamp: 20000}, {sample: 100, timestamp: 15000}, {sample: 50, timestamp: 10000}]}"
    assert call(fresh, "core/samples.js", f"m.ratePoints({samples})") == [{"t": 15000, "v": 10}, {"t": 20000, "v": 0}]
    assert call(fresh, "core/samples.js", "m.ratePoints(undefined)") == []


def test_bindings_are_laid_out_in_columns_even_in_a_circle(fresh):
    bindings = "[['a', 'b'], ['b', 'c'], ['c', 'a'], ['z', 'a']].map(([source, destination]) => ({source, destination, destination_type: 'exchange', routing_key: 'k', arguments: {}}))"
    columns = call(fresh, "parts/graph.js", f"m.layOut('a', {bindings}).columns.map((column) => column.shown.map((one) => one.name))")
    assert columns == [["z"], ["a"], ["b"], ["c"]]
    assert call(fresh, "parts/graph.js", f"m.layOut('a', {bindings}).edges.length") == 4


def test_arguments_keep_their_types(fresh):
    pairs = "[{name: 'n', type: 'number', text: '5'}, {name: 'b', type: 'boolean', text: 'false'}, {name: 't', type: 'text', text: '5'}, {name: 'l', type: 'json', text: '[1]'}, {name: '', type: 'text', text: ''}]"
    assert call(fresh, "parts/form.js", f"m.toObject({pairs})") == {"n": 5, "b": False, "t": "5", "l": [1]}
    assert call(fresh, "parts/form.js", f"m.toObject(m.fromObject(m.toObject({pairs})))") == {"n": 5, "b": False, "t": "5", "l": [1]}


def test_the_view_touches_only_what_changed(fresh):
    script = """(() => {
        const root = document.createElement('div');
        document.body.append(root);
        const list = (keys) => m.h('ul', {}, keys.map((key) => m.h('li', { key }, m.h('input', { value: key }))));
        m.render(root, list(['a', 'b', 'c']));
        const [a, b, c] = root.querySelectorAll('input');
        b.focus();
        b.value = 'typed';
        m.render(root, list(['b', 'c', 'd']));
        const kept = document.activeElement === b && b.value === 'typed' && !a.isConnected;
        m.render(root, list(['d', 'c', 'b', 'a']));
        const order = [...root.querySelectorAll('input')].map((one) => one.value).join('');
        root.remove();
        return [kept, order, c.isConnected];
    })()"""
    assert call(fresh, "core/view.js", script) == [True, "dctypeda", False]


def test_no_element_takes_a_script_or_a_strange_link(fresh):
    for properties in ("{onclick: 'x'}", "{style: 'x'}", "{srcdoc: 'x'}", "{href: 'javascript:x'}", "{href: '//elsewhere'}", "{href: 'http://elsewhere'}"):
        told = call(fresh, "core/view.js", f"(() => {{ try {{ m.build(m.h('a', {properties})); return 'built' }} catch (error) {{ return 'refused' }} }})()")
        assert told == "refused", properties
