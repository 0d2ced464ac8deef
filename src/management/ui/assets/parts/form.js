// Fields of forms, and their values. A field: `{ name, label, type, help?, value?, options?, required?, placeholder?, when? }`; `when(values)`
// says whether it is there at all.

import { h } from '../core/view.js';

let forms = 0;

/** What a form holds: `values`, `view(names?)`, `check()`; `redraw` is called when fields come or go. */
export function makeForm(fields, redraw) {
    forms += 1;
    const prefix = `form${forms}`;
    const values = Object.fromEntries(fields.map((field) => [field.name, field.value ?? EMPTY[field.type] ?? firstOption(field) ?? '']));
    const wrong = {};
    const shown = () => fields.filter((field) => !field.when || field.when(values));

    function change(field, given) {
        values[field.name] = given;
        delete wrong[field.name];
        redraw();
    }

    /** Says what is wrong with the fields, and moves the focus to the first of them; true when nothing is. */
    function check() {
        for (const name of Object.keys(wrong)) delete wrong[name];
        for (const field of shown()) {
            const problem = problemOf(field, values[field.name]);
            if (problem) wrong[field.name] = problem;
        }
        redraw();
        const first = shown().find((field) => wrong[field.name]);
        if (first) document.getElementById(`${prefix}-${first.name}`)?.focus();
        return !first;
    }

    const view = () => shown().map((field) => fieldView(field, `${prefix}-${field.name}`, values[field.name], wrong[field.name], (given) => change(field, given)));
    return { values, view, check };
}

const firstOption = ({ options }) => (Array.isArray(options?.[0]) ? options[0][0] : options?.[0]);

const EMPTY = { checkbox: false, pairs: [], checks: [] };

function problemOf(field, given) {
    if (field.type === 'pairs') return given.map(pairProblem).find(Boolean);
    const text = String(given ?? '');
    if (field.required && text === '') return 'This is needed';
    if (text === '') return field.check?.('') ?? '';
    if (field.type === 'number' && !/^-?\d+$/.test(text)) return 'A whole number is needed';
    if (field.type === 'json') {
        try {
            JSON.parse(text);
        } catch (error) {
            return `This is no JSON: ${error.message}`;
        }
    }
    return field.check?.(text) ?? '';
}

function pairProblem({ name, type, text }) {
    if (name === '' && text === '') return '';
    if (name === '') return 'An argument needs a name';
    if (type === 'number' && !/^-?\d+(\.\d+)?$/.test(text)) return `${name} needs a number`;
    if (type === 'json') {
        try {
            JSON.parse(text);
        } catch {
            return `${name} needs a list or object as JSON`;
        }
    }
    return '';
}

function fieldView(field, id, value, wrong, change) {
    const described = [field.help && `${id}-help`, wrong && `${id}-wrong`].filter(Boolean).join(' ') || undefined;
    const common = { id, name: field.name, 'aria-describedby': described, 'aria-invalid': wrong ? 'true' : undefined, 'aria-required': field.required && 'true' };
    const draw = CONTROLS[field.type] ?? CONTROLS.text;
    const isGroup = field.type === 'pairs' || field.type === 'checks';
    const help = field.help && h('span', { class: 'help', id: `${id}-help` }, typeof field.help === 'function' ? field.help(value) : field.help);
    const failure = wrong && h('span', { class: 'wrong', id: `${id}-wrong`, role: 'alert' }, wrong);
    if (field.type === 'checkbox') return h('div', { class: 'field inline', key: field.name }, draw(field, common, value, change), h('label', { for: id }, field.label), help, failure);
    const label = isGroup ? h('span', { class: 'label', id: `${id}-label` }, field.label) : h('label', { for: id }, field.label);
    return h('div', { class: 'field', key: field.name, role: isGroup && 'group', 'aria-labelledby': isGroup && `${id}-label` }, label, draw(field, common, value, change), help, failure);
}

const plain = { autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' };
const input = (type) => (field, common, value, change) => h('input', { ...common, ...plain, type, value, placeholder: field.placeholder, list: field.suggestions && `${common.id}-list`, on: { input: (event) => change(event.target.value) } });
const area = (field, common, value, change) => h('textarea', { ...common, ...plain, value, rows: field.rows ?? 6, class: 'mono', placeholder: field.placeholder, on: { input: (event) => change(event.target.value) } });

const CONTROLS = {
    text: (field, common, value, change) => [
        input('text')(field, common, value, change),
        field.suggestions && h('datalist', { id: `${common.id}-list` }, field.suggestions.map((text) => h('option', { value: text }))),
    ],
    number: (field, common, value, change) => h('input', { ...common, ...plain, type: 'text', inputmode: 'numeric', value, placeholder: field.placeholder, on: { input: (event) => change(event.target.value) } }),
    password: (field, common, value, change) => h('input', { ...common, type: 'password', autocomplete: 'new-password', value, on: { input: (event) => change(event.target.value) } }),
    area,
    json: area,
    checkbox: (field, common, value, change) => h('input', { ...common, type: 'checkbox', checked: value, on: { change: (event) => change(event.target.checked) } }),
    select: (field, common, value, change) =>
        h('select', { ...common, value, on: { change: (event) => change(event.target.value) } }, field.options.map((option) => (Array.isArray(option) ? h('option', { value: option[0] }, option[1]) : h('option', { value: option }, option)))),
    checks: (field, common, value, change) =>
        h('div', { class: 'choice' }, field.options.map(([name, label]) => h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: value.includes(name), on: { change: (event) => change(event.target.checked ? [...value, name] : value.filter((one) => one !== name)) } }), label))),
    pairs: (field, common, value, change) => pairs(field, common, value, change),
};

const TYPES = [
    ['text', 'Text'],
    ['number', 'Number'],
    ['boolean', 'Yes or no'],
    ['json', 'List or object'],
];

/** Names with typed values. What is known of a name (`field.known`) gives its type, its choices and a help. */
function pairs(field, common, value, change) {
    const known = (name) => field.known?.find((one) => one.name === name);
    const edit = (at, changes) => change(value.map((pair, index) => (index === at ? { ...pair, ...changes } : pair)));
    const rename = (at, name) => {
        const found = known(name);
        edit(at, found ? { name, type: found.type, text: found.type === 'boolean' ? 'true' : (found.options?.[0] ?? '') } : { name });
    };
    const add = () => {
        change([...value, { name: '', type: 'text', text: '' }]);
        document.getElementById(`${common.id}-${value.length}`)?.focus();
    };
    const drop = (at) => {
        change(value.filter((_, index) => index !== at));
        document.getElementById(`${common.id}-add`)?.focus();
    };
    return h(
        'div',
        { class: 'pairs', id: common.id, tabindex: -1 },
        field.known && h('datalist', { id: `${common.id}-names` }, field.known.map((one) => h('option', { value: one.name }, one.help))),
        value.map((pair, at) => pairView({ pair, at, id: `${common.id}-${at}`, names: field.known && `${common.id}-names`, found: known(pair.name), edit, rename, drop })),
        h('div', {}, h('button', { class: 'button small', type: 'button', id: `${common.id}-add`, on: { click: add } }, field.add ?? 'Add an argument')),
    );
}

function pairView({ pair, at, id, names, found, edit, rename, drop }) {
    const choices = pair.type === 'boolean' ? ['true', 'false'] : found?.options;
    const label = pair.name || `argument ${at + 1}`;
    return h(
        'div',
        { class: 'pair', key: at },
        h('input', { ...plain, type: 'text', id, list: names, value: pair.name, placeholder: 'Name', 'aria-label': `Name of argument ${at + 1}`, on: { input: (event) => rename(at, event.target.value) } }),
        h('select', { value: pair.type, 'aria-label': `Type of ${label}`, on: { change: (event) => edit(at, { type: event.target.value, text: event.target.value === 'boolean' ? 'true' : pair.text }) } }, TYPES.map(([type, text]) => h('option', { value: type }, text))),
        choices
            ? h('select', { key: 'choice', value: pair.text, 'aria-label': `Value of ${label}`, on: { change: (event) => edit(at, { text: event.target.value }) } }, choices.map((one) => h('option', { value: one }, one)))
            : h('input', { ...plain, key: 'free', type: 'text', value: pair.text, placeholder: found?.example ?? 'Value', 'aria-label': `Value of ${label}`, on: { input: (event) => edit(at, { text: event.target.value }) } }),
        h('button', { class: 'button small plain', type: 'button', 'aria-label': `Remove ${label}`, on: { click: () => drop(at) } }, 'Remove'),
        found?.help && h('span', { class: 'help' }, found.help),
    );
}

const TYPED = { number: Number, boolean: (text) => text === 'true', json: JSON.parse, text: (text) => text };

/** The pairs of a field as the object that the API wants. */
export const toObject = (given) => Object.fromEntries(given.filter((pair) => pair.name !== '').map((pair) => [pair.name, TYPED[pair.type](pair.text)]));

const typeOf = (value) => ({ number: 'number', boolean: 'boolean', string: 'text' })[typeof value] ?? 'json';

export const fromObject = (object) => Object.entries(object ?? {}).map(([name, value]) => ({ name, type: typeOf(value), text: typeof value === 'string' ? value : JSON.stringify(value) }));
