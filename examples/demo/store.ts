// The words of the line protocol: SET key value, GET key, DEL key.

export function answer(store: Map<string, string>, line: string): string {
  const [command = '', key = '', ...words] = line.split(' ');
  switch (command) {
    case 'SET':
      store.set(key, words.join(' '));
      return 'OK';
    case 'GET':
      return store.get(key) ?? 'NONE';
    case 'DEL':
      return store.delete(key) ? 'OK' : 'NONE';
    default:
      return `ERROR unknown command ${command}`;
  }
}
