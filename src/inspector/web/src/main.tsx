import { render } from 'preact';
import { takeKey } from './client';
import { followKeys } from './keys';
import { followHistory } from './place';
import { followPlace, followSearch, run, tick } from './store';
import './style.css';
import { App } from './ui/App';

takeKey(location, history, sessionStorage);
followHistory();
followPlace();
followSearch();
followKeys();
tick();
// First, so that the entries arrive while the page is rendered.
void run();
const page = document.getElementById('page');
if (page) render(<App />, page);
