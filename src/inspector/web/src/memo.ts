import { Component, type ComponentType, type FunctionComponent, h } from 'preact';

/** Returns a component that is rendered again only when one of its properties changes. */
export function memo<Props extends object>(render: FunctionComponent<Props>): ComponentType<Props> {
  return class extends Component<Props> {
    override shouldComponentUpdate(next: Props): boolean {
      const old = this.props as Record<string, unknown>;
      const fresh = next as Record<string, unknown>;
      return Object.keys(fresh).some((name) => fresh[name] !== old[name]);
    }

    override render() {
      return h(render, this.props);
    }
  };
}
