// The cluster: its nodes, the groups of nodes that keep copies, who leads them and how far the others are behind.

import { h } from '../core/view.js';
import { get, path, post } from '../core/api.js';
import { link } from '../core/router.js';
import { may } from '../core/session.js';
import { bytes, count, duration, plural } from '../core/format.js';
import { button, card, heading, loading, meter, state, tag, tiles } from '../parts/bits.js';
import { ask, confirm } from '../parts/dialog.js';
import { figure, table } from '../parts/table.js';
import { attempt } from '../parts/toast.js';

export function open(page) {
    let nodes = null;
    let cluster = null;
    const isAdministrator = may('administrator');

    async function load(signal) {
        // Brokers other than this one have no groups to tell of.
        const groups = get('cluster/status', undefined, { signal }).catch((error) => (error.status === 404 ? null : Promise.reject(error)));
        [nodes, cluster] = await Promise.all([get('nodes', undefined, { signal }), groups]);
    }

    const order = (what, name, body, after) => attempt(what, () => post(path('cluster', name), body), after).then(page.reload);
    const act = {
        rebalance: () => order('Evening out the leaders', 'rebalance', {}, 'Leaders are being evened out'),
        drain: (node) => order(`Drain ${node.name}`, 'drain', { node: node.name, on: !node.is_draining }, node.is_draining ? `${node.name} takes its share again` : `${node.name} hands over what it leads`),
        async leave(node) {
            const text = 'It hands its copies over to other nodes and ends when that is done. Queues of which it has the only copy are moved first.';
            if (await confirm(`Let ${node.name} leave the cluster?`, text, 'Leave', () => post('cluster/leave', { node: node.name, force: false }))) page.reload();
        },
        async forget(node) {
            const text = 'Only for a node that is gone for good: what only it had is lost, and it can never come back under this identity.';
            if (await confirm(`Forget ${node.name}?`, text, 'Forget', () => post('cluster/forget', { node: node.name }))) page.reload();
        },
        async transfer(group) {
            const options = group.members.filter((member) => member.node !== group.leader && member.is_voter).map((member) => nameOf(cluster, member.node));
            const ok = await ask({ title: `Another leader for group ${group.group}`, submit: 'Transfer', fields: [{ name: 'node', label: 'Leader', type: 'select', options }], onSubmit: ({ node }) => post('cluster/transfer', { group: group.group, node }) });
            if (ok) page.reload();
        },
    };

    const view = () => [
        heading('Cluster', { actions: isAdministrator && cluster?.groups?.length > 0 && button('Even out leaders', act.rebalance) }),
        nodes === null ? loading(page) : h('div', { class: 'stack' }, cluster && summary(cluster), nodeCard(nodes, cluster, isAdministrator && act), cluster?.groups?.length > 0 && [lagCard(cluster), groupCard(cluster, isAdministrator && act)]),
    ];

    return { title: 'Cluster', load, view };
}

const nameOf = (cluster, number) => cluster.nodes.find((node) => node.node === number)?.name ?? String(number);
const lagOf = (group) => Math.max(0, ...group.members.map((member) => member.lag_entries));

function summary(cluster) {
    const up = cluster.nodes.filter((node) => node.is_up).length;
    const groups = cluster.groups;
    const members = groups.flatMap((group) => group.members);
    const inSync = members.filter((member) => member.is_in_sync).length;
    const leaderless = groups.filter((group) => !group.leader).length;
    return tiles([
        { name: 'Nodes up', text: count(up), more: `of ${count(cluster.nodes.length)}` },
        { name: 'Groups', text: count(groups.length), more: leaderless > 0 && `${count(leaderless)} without a leader` },
        { name: 'Copies in sync', text: count(inSync), more: `of ${count(members.length)}` },
        { name: 'Largest lag', text: count(Math.max(0, ...groups.map(lagOf))), more: 'entries' },
        { name: 'Copies wanted', text: count(cluster.copies) },
    ]);
}

function nodeWord(node, own) {
    if (own?.is_leaving) return state('leaving', 'warn');
    if (node?.running === false || own?.is_up === false) return state('down', 'bad');
    if (own?.is_draining || node?.being_drained) return state('draining', 'warn');
    return state('up', 'good');
}

function nodeCard(nodes, cluster, act) {
    const ownOf = (node) => cluster?.nodes?.find((own) => own.name === node.name || node.name.endsWith(`@${own.name}`));
    const rows = nodes.map((node) => ({ node, own: ownOf(node), name: node.name }));
    // A node that is down may be known to the cluster alone.
    for (const own of cluster?.nodes ?? []) if (!rows.some((row) => row.own === own)) rows.push({ node: null, own, name: own.name });
    const columns = [
        { label: 'Name', isHead: true, class: 'clip', cell: ({ node, name }) => (node ? h('a', { href: link(['cluster', name]) }, name) : name) },
        { label: 'State', cell: ({ node, own }) => h('span', { class: 'tags' }, nodeWord(node, own), node?.mem_alarm && tag('memory alarm', 'bad'), node?.disk_free_alarm && tag('disk alarm', 'bad')) },
        cluster && { label: 'Address', rank: 'less', class: 'mono', cell: ({ own }) => own?.address || '–' },
        cluster && { label: 'Leads', number: true, cell: ({ own }) => figure(own?.leads, count) },
        cluster && { label: 'Copies', number: true, cell: ({ own }) => figure(own?.copies, count) },
        { label: 'Memory', rank: 'less', cell: ({ node }) => node && [bytes(node.mem_used), meter(node.mem_used, node.mem_limit, node.mem_alarm)] },
        { label: 'Free disk', rank: 'least', cell: ({ node }) => node && bytes(node.disk_free) },
        { label: 'Up for', rank: 'least', class: 'nowrap', cell: ({ node }) => duration(node?.uptime) },
        { label: 'Version', rank: 'least', cell: ({ own }) => own?.version || '–' },
        act && cluster && { label: 'Action', cell: ({ own }) => own && nodeActions(own, cluster, act) },
    ];
    return card('Nodes', {}, table({ caption: 'Nodes', rows, keyOf: (row) => row.name, columns: columns.filter(Boolean) }));
}

function nodeActions(own, cluster, act) {
    if (cluster.nodes.length < 2) return null;
    return h(
        'span',
        { class: 'row' },
        own.is_up && button(own.is_draining ? 'End draining' : 'Drain', () => act.drain(own), { kind: 'small', 'aria-label': `${own.is_draining ? 'End draining' : 'Drain'} ${own.name}`, title: 'A node that drains hands over what it leads' }),
        own.is_up && !own.is_leaving && button('Leave', () => act.leave(own), { kind: 'small danger', 'aria-label': `Let ${own.name} leave` }),
        !own.is_up && button('Forget', () => act.forget(own), { kind: 'small danger', 'aria-label': `Forget ${own.name}` }),
    );
}

/** For each node all its copies as small squares, so that one that lags is seen at once. */
function lagCard(cluster) {
    const rows = cluster.nodes.map((node) => ({ node, copies: cluster.groups.map((group) => ({ group, member: group.members.find((member) => member.node === node.node) })).filter(({ member }) => member) }));
    return card(
        'Copies of groups on each node',
        { beside: h('span', { class: 'row hint' }, key('leads', 'leads'), key('good', 'in sync'), key('warn', 'behind'), key('bad', 'not reached')) },
        h('div', { class: 'body stack' }, rows.map(({ node, copies }) => h('div', { class: 'mirrors', key: node.node }, h('strong', {}, node.name), h('span', { class: 'quiet' }, told(node, copies)), h('span', { class: 'squares', 'aria-hidden': 'true' }, copies.map(({ group, member }) => h('span', { class: ['square', colorOf(node, group, member)], key: group.group, title: `group ${group.group}: ${wordOf(node, group, member)}` })))))),
    );
}

const key = (kind, text) => h('span', { class: 'check' }, h('span', { class: ['square', kind] }), text);

const colorOf = (node, group, member) => (!node.is_up ? 'bad' : group.leader === node.node ? 'leads' : member.is_in_sync ? 'good' : 'warn');

function wordOf(node, group, member) {
    if (group.leader === node.node) return 'leads';
    if (member.gets_snapshot) return 'gets a copy of everything';
    return member.is_in_sync ? 'in sync' : `behind by ${count(member.lag_entries)} entries, ${bytes(member.lag_bytes)}`;
}

function told(node, copies) {
    const behind = copies.filter(({ group, member }) => group.leader !== node.node && !member.is_in_sync).length;
    return `${plural(copies.length, 'copy', 'copies')}, ${plural(copies.filter(({ group }) => group.leader === node.node).length, 'leader')}, ${count(behind)} behind`;
}

function groupCard(cluster, act) {
    const columns = [
        { label: 'Group', isHead: true, cell: (group) => (group.group === 0 ? '0, declarations' : String(group.group)) },
        { label: 'Leader', cell: (group) => (group.leader ? nameOf(cluster, group.leader) : tag('nobody', 'bad')) },
        { label: 'Queues', number: true, cell: (group) => (group.group === 0 ? '–' : figure(group.queues, count)) },
        { label: 'Members', cell: (group) => h('span', { class: 'tags' }, group.members.map((member) => memberTag(cluster, group, member))) },
        { label: 'Lag', number: true, cell: (group) => figure(lagOf(group), (lag) => plural(lag, 'entry', 'entries')) },
        { label: 'Bytes behind', number: true, rank: 'less', cell: (group) => figure(Math.max(0, ...group.members.map((member) => member.lag_bytes)), bytes) },
        { label: 'Term', number: true, rank: 'least', cell: (group) => count(group.term) },
        act && { label: 'Action', rank: 'least', cell: (group) => group.members.filter((member) => member.is_voter).length > 1 && button('Transfer', () => act.transfer(group), { kind: 'small', 'aria-label': `Another leader for group ${group.group}` }) },
    ];
    return card('Groups', { beside: h('span', { class: 'hint' }, 'Each group keeps the messages of its queues on all its members') }, table({ caption: 'Groups', rows: cluster.groups, keyOf: (group) => group.group, columns: columns.filter(Boolean) }));
}

function memberTag(cluster, group, member) {
    const name = nameOf(cluster, member.node);
    if (member.gets_snapshot) return tag(`${name}, gets a copy`, 'warn');
    if (!member.is_voter) return tag(`${name}, new`, 'warn');
    if (member.node === group.leader) return tag(`${name}, leads`, 'accent');
    return tag(member.is_in_sync ? name : `${name}, behind`, member.is_in_sync ? 'good' : 'bad', wordOf({ node: member.node }, group, member));
}
