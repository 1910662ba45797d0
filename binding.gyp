{
  # The sources are listed once, in native/sources.json; CMakeLists.txt reads the same file.
  'target_defaults': {
    'include_dirs': [
      "<!(node -p \"require('node-addon-api').include_dir\")",
      'native',
    ],
    'defines': [
      'NAPI_VERSION=9',
      'NAPI_DISABLE_CPP_EXCEPTIONS',
      'NODE_ADDON_API_DISABLE_DEPRECATED',
    ],
    'cflags_cc!': ['-std=gnu++17'],
    'cflags_cc': [
      '-std=gnu++20',
      '-fno-exceptions',
      '-fno-rtti',
      '-fvisibility=hidden',
      '-Wall',
      '-Wextra',
      '-Werror=return-type',
    ],
    # -z now: an unknown symbol fails in dlopen, where it can be caught, not at its first call.
    'ldflags': ['-Wl,-z,now,-z,relro'],
    'configurations': {
      'Release': {
        'cflags': ['-O3'],
        'cflags!': ['-O2'],
      },
      'Debug': {
        'defines': ['UVIO_DEBUG=1'],
      },
    },
  },
  'variables': {
    # Not everywhere; without them there is no addon for TLS, and node:tls serves.
    'openssl_headers%': "<!(node -p \"['<(node_root_dir)/include/node', '/usr/include'].some("
      "(path) => require('fs').existsSync(path + '/openssl/ssl.h')) ? 1 : 0\")",
  },
  'targets': [
    {
      'target_name': 'uvio_native',
      'sources': [
        "<!@(node -p \"(s => [...s.core, ...s.parse, ...s.bind].join(' '))"
        "(require('./native/sources.json'))\")",
      ],
    },
  ],
  'conditions': [
    ['openssl_headers==1', {
      'targets': [
        {
          # On the OpenSSL that Node exports: a file of its own, for processes that have none.
          'target_name': 'uvio_tls',
          'sources': [
            "<!@(node -p \"(s => [...s.tls, ...s.tls_bind].join(' '))"
            "(require('./native/sources.json'))\")",
          ],
        },
      ],
    }],
  ],
}
