// aws-amplify with IAM. It always uses TLS for subscriptions, whatever the endpoint's scheme, so it needs the
// certificate authority in NODE_EXTRA_CA_CERTS. The keys are those of the emulator's demo; countersign
// replaces the signatures that are made with them.

import { Amplify } from 'aws-amplify';
import { generateClient } from 'aws-amplify/api';
import { matrix, messages } from './cells.mjs';

const credentials = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  sessionToken: 'AQoDYXdzEXAMPLETOKEN==',
};

await matrix({
  amplify: ({ https }) => {
    Amplify.configure(
      { API: { GraphQL: { endpoint: https, region: 'us-east-1', defaultAuthMode: 'iam' } } },
      {
        Auth: {
          credentialsProvider: {
            getCredentialsAndIdentityId: async () => ({ credentials }),
            clearCredentialsAndIdentityId() {},
          },
        },
      },
    );
    const client = generateClient();
    return {
      retries: true,
      oneSocket: true,
      run: async ({ query, variables }) => {
        try {
          return await client.graphql({ query, variables });
        } catch (error) {
          // Amplify throws the response.
          if (!error?.errors) throw error;
          return { errors: messages(error.errors) };
        }
      },
      subscribe: ({ query, variables }, sink) => {
        const subscription = client.graphql({ query, variables }).subscribe({
          next: ({ data, errors }) => sink.next({ data, errors: messages(errors) }),
          error: (error) => sink.error(error?.errors ? messages(error.errors) : error),
          complete: () => sink.complete(),
        });
        return () => subscription.unsubscribe();
      },
    };
  },
});
