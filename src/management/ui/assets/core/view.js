// Elements as plain values, and a patch that makes a part of the page equal to them. What stays the same is not touched, so that
// focus, selection and scrolling survive a refresh. Text only ever becomes text: nothing here parses HTML.

const SVG = 'http://www.w3.org/2000/svg';

/** Set as properties, and only when the wanted value changes: what somebody is typing stays. */
const PROPERTIES = new Set(['value', 'checked', 'indeterminate', 'selected']);

/** An element. Properties: attributes; `on`, listeners by event; `key`, its identity among siblings; `ref`, called once with the node. */
export function h(tag, properties, ...children) {
    const { key, ...rest } = properties ?? {};
    return { tag, key, properties: rest, children: flat(children) };
}

/** A part that draws itself: `make(properties)` gives `{ node, update(properties), close() }`. */
export function widget(make, properties, key) {
    return { make, key, properties, children: [] };
}

function flat(children) {
    const out = [];
    for (const child of children.flat(Infinity)) {
        if (child === null || child === undefined || child === false || child === true) continue;
        out.push(typeof child === 'object' ? child : { text: String(child) });
    }
    return out;
}

const shown = new WeakMap();

/** Makes the children of `root` equal to `tree`. */
export function render(root, ...tree) {
    const wanted = flat(tree);
    patchChildren(root, shown.get(root) ?? [], wanted, false);
    shown.set(root, wanted);
}

/** A node of its own, for what does not live in a rendered tree. */
export function build(element) {
    return create(element, false);
}

function create(element, inSvg) {
    if (element.text !== undefined) {
        element.node = document.createTextNode(element.text);
    } else if (element.make) {
        element.live = element.make(element.properties);
        element.node = element.live.node;
    } else {
        const svg = inSvg || element.tag === 'svg';
        element.node = svg ? document.createElementNS(SVG, element.tag) : document.createElement(element.tag);
        patchChildren(element.node, [], element.children, svg);
        // After the children: the value of a select is one of its options.
        patchProperties(element.node, {}, element.properties);
        element.properties.ref?.(element.node);
    }
    return element.node;
}

function patch(old, element, inSvg) {
    element.node = old.node;
    if (element.text !== undefined) {
        if (old.text !== element.text) element.node.data = element.text;
    } else if (element.make) {
        element.live = old.live;
        element.live.update(element.properties);
    } else {
        const svg = inSvg || element.tag === 'svg';
        patchChildren(element.node, old.children, element.children, svg);
        patchProperties(element.node, old.properties, element.properties);
    }
}

const isSame = (a, b) => a.tag === b.tag && a.key === b.key && a.make === b.make && (a.text === undefined) === (b.text === undefined);

function patchChildren(parent, old, wanted, svg) {
    const keyed = new Map();
    for (const element of old) if (element.key !== undefined) keyed.set(element.key, element);
    const pairs = pair(old, wanted, keyed);
    const kept = new Set(pairs);
    // First what goes, so that what stays is where it should be and need not move: a node that moves loses the focus.
    for (const element of old) if (!kept.has(element)) drop(element);
    let next = parent.firstChild;
    wanted.forEach((element, at) => {
        const before = pairs[at];
        if (before) patch(before, element, svg);
        else create(element, svg);
        if (element.node === next) next = next.nextSibling;
        else parent.insertBefore(element.node, next);
    });
}

/** For each wanted element the old one that becomes it: the one with its key, or the next one of its kind without a key. */
function pair(old, wanted, keyed) {
    let at = 0;
    return wanted.map((element) => {
        if (element.key !== undefined) {
            const found = keyed.get(element.key);
            return found && isSame(found, element) ? found : undefined;
        }
        for (let ahead = at; ahead < old.length; ahead += 1) {
            if (old[ahead].key === undefined && isSame(old[ahead], element)) {
                at = ahead + 1;
                return old[ahead];
            }
        }
        return undefined;
    });
}

function drop(element) {
    close(element);
    element.node.remove();
}

function close(element) {
    element.live?.close?.();
    element.children?.forEach(close);
}

function patchProperties(node, old, wanted) {
    for (const name of Object.keys(old)) if (!(name in wanted)) set(node, name, null, old[name]);
    for (const [name, value] of Object.entries(wanted)) if (old[name] !== value) set(node, name, value, old[name]);
}

function set(node, name, value, before) {
    if (name === 'ref') return;
    if (name === 'on') return listen(node, value ?? {}, before ?? {});
    if (PROPERTIES.has(name)) {
        node[name] = value ?? (name === 'value' ? '' : false);
        return;
    }
    if (/^(on|style$|srcdoc$)/i.test(name)) throw new Error(`the attribute ${name} is not for elements made here`);
    if (/href$/.test(name) && value && !/^(#|\/(?!\/)|blob:)/.test(value)) throw new Error(`no link to ${value}`);
    const text = Array.isArray(value) ? value.filter(Boolean).join(' ') : value;
    if (text === null || text === undefined || text === false) node.removeAttribute(name);
    else node.setAttribute(name, text === true ? '' : String(text));
}

const listeners = new WeakMap();

/** One listener for each event that ever had one; which function it calls can change with every patch. */
function listen(node, wanted, before) {
    listeners.set(node, wanted);
    for (const type of Object.keys(wanted)) {
        if (!(type in before)) node.addEventListener(type, dispatch);
    }
    for (const type of Object.keys(before)) {
        if (!(type in wanted)) node.removeEventListener(type, dispatch);
    }
}

function dispatch(event) {
    return listeners.get(event.currentTarget)?.[event.type]?.(event);
}
